//! A shell for queries, with history.

use std::path::PathBuf;

use anyhow::Result;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::{SqlArgs, answer};
use crate::client::Client;
use crate::exit::Exit;

const HELP: &str = "\
A query ends with a semicolon and may take several lines. Besides:
  \\d          the tables
  \\d TABLE    the columns of a table
  \\q          leave (as Ctrl-D does); Ctrl-C drops what is typed, or the query that runs
Up and down go through what was typed before.";
const TABLES: &str = "select table_name as name from information_schema.tables \
                      where table_schema = 'public' order by 1";

/// What was typed.
enum Line {
    Query(String),
    Help,
    Quit,
    Nothing,
}

/// Asks for queries and answers them, until it is told to end.
pub(super) async fn run(client: Client, args: SqlArgs) -> Result<Exit> {
    let mut editor = DefaultEditor::new()?;
    let history = history_file();
    if let Some(file) = &history {
        // The first time there is none.
        let _ = editor.load_history(file);
    }
    println!("breccia sql, connected to {}; \\? helps, \\q leaves", args.server.server);
    let mut typed = String::new();
    loop {
        let prompt = if typed.is_empty() { "breccia> " } else { "     ... " };
        // Typing may take as long as it likes, and nothing else runs meanwhile.
        let line = tokio::task::block_in_place(|| editor.readline(prompt));
        match line {
            Ok(line) => typed.push_str(&line),
            Err(ReadlineError::Interrupted) => {
                typed.clear();
                continue;
            }
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        }
        let Some(line) = whole(&typed) else {
            typed.push('\n');
            continue;
        };
        let _ = editor.add_history_entry(typed.trim());
        typed.clear();
        match line {
            Line::Nothing => {}
            Line::Quit => break,
            Line::Help => println!("{HELP}"),
            Line::Query(query) => tokio::select! {
                shown = answer::show(&client, &args, &query) => {
                    if let Err(error) = shown {
                        eprintln!("error: {error:#}");
                    }
                }
                _ = tokio::signal::ctrl_c() => eprintln!("dropped"),
            },
        }
    }
    if let Some(file) = &history {
        // A history that cannot be kept is no reason to fail.
        let _ = editor.save_history(file);
    }
    Ok(Exit::Done)
}

/// What was typed, once it is whole.
fn whole(typed: &str) -> Option<Line> {
    let typed = typed.trim();
    if let Some(command) = typed.strip_prefix('\\') {
        let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        return Some(match (word, rest.trim().trim_end_matches(';')) {
            ("q", _) => Line::Quit,
            ("d", "") => Line::Query(TABLES.to_owned()),
            ("d", table) => Line::Query(columns_of(table)),
            _ => Line::Help,
        });
    }
    match (typed, typed.strip_suffix(';')) {
        ("" | ";", _) => Some(Line::Nothing),
        ("quit" | "exit", _) => Some(Line::Quit),
        (_, Some(query)) => Some(Line::Query(query.to_owned())),
        (_, None) => None,
    }
}

fn columns_of(table: &str) -> String {
    let table = table.trim_matches('"').replace('\'', "''");
    format!(
        "select column_name as name, data_type as type, is_nullable as nullable \
         from information_schema.columns where table_schema = 'public' \
         and table_name = '{table}' order by ordinal_position"
    )
}

fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let folder = state.or(home)?.join("breccia");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("sql-history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_whole_at_its_semicolon_and_a_command_at_the_end_of_its_line() {
        assert!(whole("select 1").is_none());
        assert!(matches!(whole("select\n1 ; "), Some(Line::Query(query)) if query == "select\n1 "));
        assert!(matches!(whole(r"\d"), Some(Line::Query(query)) if query == TABLES));
        let columns = whole(r"\d it's;");
        assert!(matches!(columns, Some(Line::Query(query)) if query.contains("= 'it''s'")));
        assert!(matches!(whole(r"\q"), Some(Line::Quit)));
        assert!(matches!(whole(r"\x"), Some(Line::Help)));
        assert!(matches!(whole("  "), Some(Line::Nothing)));
    }
}
