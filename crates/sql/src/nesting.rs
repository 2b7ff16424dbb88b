//! How deeply a query may nest.
//!
//! Planning and computing recurse over expressions and operators, and a thread whose stack
//! overflows takes the process with it. So a query that nests too deeply is refused before it
//! is parsed, by its tokens alone; and what may recurse most, planning, has a large stack.

use std::thread;

use datafusion::common::{Result, exec_datafusion_err};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::SqlError;

/// Operators and parentheses around and before the innermost part of an expression.
const DEPTH_MAX: usize = 400;
/// The selects, and the joins, of a query: each may be an operator above the one before.
const SELECTS_MAX: usize = 64;
/// The stack of a thread that plans, in bytes.
const PLANNING_STACK_BYTES: usize = 64 << 20;

/// Refuses a query that nests too deeply, or has too many parts that may.
pub(crate) fn check(sql: &str) -> Result<(), SqlError> {
    // What is wrong with tokens is told, with its place, by parsing.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else { return Ok(()) };
    let mut nesting = Nesting { levels: vec![0], depth: 0, selects: 0, joins: 0 };
    tokens.iter().try_for_each(|token| nesting.take(token))
}

struct Nesting {
    /// Operators before this place in the expression at each level of parentheses.
    levels: Vec<usize>,
    /// The sum of those.
    depth: usize,
    selects: usize,
    joins: usize,
}

impl Nesting {
    fn take(&mut self, token: &Token) -> Result<(), SqlError> {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => self.open(),
            Token::RParen | Token::RBracket | Token::RBrace => self.close(),
            Token::Comma | Token::SemiColon => self.begin(),
            Token::Word(word) => self.word(word.keyword),
            Token::Whitespace(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::EOF => {}
            _ => self.operator(),
        }
        let reason = if self.depth > DEPTH_MAX {
            format!(
                "the query nests too deeply: at most {DEPTH_MAX} operators and parentheses may \
                 stand in one expression; for many alternatives use IN (...)"
            )
        } else if self.selects > SELECTS_MAX || self.joins > SELECTS_MAX {
            format!("a query has at most {SELECTS_MAX} selects and as many joins")
        } else {
            return Ok(());
        };
        Err(SqlError::Invalid { reason, line: None, column: None })
    }

    fn word(&mut self, keyword: Keyword) {
        match keyword {
            Keyword::NoKeyword => {}
            Keyword::CASE => self.open(),
            Keyword::END => self.close(),
            Keyword::SELECT => {
                self.selects += 1;
                self.begin();
            }
            Keyword::JOIN => {
                self.joins += 1;
                self.begin();
            }
            Keyword::WHEN
            | Keyword::THEN
            | Keyword::ELSE
            | Keyword::FROM
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::ON
            | Keyword::VALUES => self.begin(),
            _ => self.operator(),
        }
    }

    fn operator(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            *level += 1;
            self.depth += 1;
        }
    }

    fn open(&mut self) {
        self.operator();
        self.levels.push(0);
    }

    fn close(&mut self) {
        if self.levels.len() > 1 {
            self.depth -= self.levels.pop().unwrap_or_default();
        }
    }

    /// Another expression begins at this level.
    fn begin(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            self.depth -= *level;
            *level = 0;
        }
    }
}

/// Does something that may recurse deeply, and waits for it.
pub(crate) fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(PLANNING_STACK_BYTES);
        let working = thread.name("sql-plan".to_owned()).spawn_scoped(scope, work);
        let working =
            working.map_err(|error| exec_datafusion_err!("no thread to plan: {error}"))?;
        working.join().unwrap_or_else(|_| Err(exec_datafusion_err!("planning panicked")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_flat_may_be_long_and_what_nests_may_not() {
        let many = |text: &str, count: usize, between: &str| vec![text; count].join(between);
        for flat in [
            format!("select a from t where a in ({})", many("1", 5_000, ", ")),
            format!("select {} from t", many("a + 1", 1_000, ", ")),
            format!("select case {} end from t", many("when a = 1 then 2", 500, " ")),
            format!("select {}", many("1", DEPTH_MAX, " + ")),
        ] {
            assert_eq!(check(&flat), Ok(()), "{flat:.80}");
        }
        for deep in [
            format!("select {}", many("1", DEPTH_MAX + 2, " + ")),
            format!("select {}1{}", many("(", 401, ""), many(")", 401, "")),
            format!("select {} 1", many("-", 401, " ")),
            format!("select {} true", many("not", 401, " ")),
            format!("select 1{}", many("::int", 401, "")),
            format!("select {}1{}", many("case when true then ", 401, ""), many(" end", 401, "")),
            many("select 1", 65, " union all "),
            format!("select 1 from t {}", many("join t on true", 65, " ")),
        ] {
            assert!(matches!(check(&deep), Err(SqlError::Invalid { .. })), "{deep:.80}");
        }
    }
}
