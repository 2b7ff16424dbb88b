//! COMMAND: the command table, told to clients.

use bytes::Bytes;

use super::super::command::{CommandQuery, ListFilter};
use super::super::encoder::Encoder;
use super::super::error::ReplyError;
use super::super::glob;
use super::super::table::{self, Spec, flags};

/// Answers a question about the command table.
///
/// # Errors
/// For COMMAND GETKEYS, if the words are no command or have no keys.
pub(crate) fn encode(encoder: &mut Encoder, query: &CommandQuery) -> Result<(), ReplyError> {
    match query {
        CommandQuery::All => {
            encoder.array(table::rows().count());
            table::rows().for_each(|spec| encode_info(encoder, spec));
        }
        CommandQuery::Count => encoder.count(table::rows().count()),
        CommandQuery::Info(names) => {
            encoder.array(names.len());
            for name in names {
                match named(name) {
                    Some(spec) => encode_info(encoder, spec),
                    None => encoder.null(),
                }
            }
        }
        CommandQuery::Docs(names) => {
            let chosen: Vec<_> = if names.is_empty() {
                table::rows().collect()
            } else {
                names.iter().filter_map(|name| named(name)).collect()
            };
            encode_docs(encoder, chosen.len(), chosen.into_iter());
        }
        CommandQuery::List(filter) => {
            let names: Vec<_> = listed(filter).collect();
            encoder.array(names.len());
            names.iter().for_each(|name| encoder.bulk(name.as_bytes()));
        }
        CommandQuery::Keys(words) => {
            let keys = keys_of(words)?;
            encoder.array(keys.len());
            keys.iter().for_each(|key| encoder.bulk(key));
        }
    }
    Ok(())
}

/// The command of this name; of a subcommand `container|subcommand`.
fn named(name: &[u8]) -> Option<&'static Spec> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let (_, spec) = table::find(parts.next()?)?;
    match parts.next() {
        None => Some(spec),
        Some(sub) => spec.subcommand(sub),
    }
}

fn encode_info(encoder: &mut Encoder, spec: &Spec) {
    encoder.array(10);
    encoder.bulk(spec.name.as_bytes());
    encoder.integer(spec.arity);
    let names = spec.flags.names();
    encoder.set(names.clone().count());
    names.for_each(|name| encoder.simple(name));
    encoder.count(spec.keys.first);
    encoder.integer(spec.keys.last);
    encoder.count(spec.keys.step);
    let categories = spec.categories();
    encoder.set(categories.len());
    categories.iter().for_each(|category| encoder.simple(category));
    // Tips for clients that ask several nodes.
    encoder.array(0);
    encode_key_specification(encoder, spec);
    encoder.array(spec.subcommands.len());
    spec.subcommands.iter().for_each(|sub| encode_info(encoder, sub));
}

/// Where the keys are, in the words of Redis 7: one range from the first key on.
fn encode_key_specification(encoder: &mut Encoder, spec: &Spec) {
    let keys = spec.keys;
    if keys.first == 0 {
        return encoder.array(0);
    }
    let first = i64::try_from(keys.first).unwrap_or(0);
    let last = if keys.last < 0 { keys.last } else { keys.last - first };
    encoder.array(1);
    encoder.map(3);
    encoder.bulk(b"flags");
    let shown: &[&str] =
        if spec.flags.has(flags::READ) { &["RO", "access"] } else { &["RW", "access", "update"] };
    encoder.set(shown.len());
    shown.iter().for_each(|flag| encoder.simple(flag));
    encoder.bulk(b"begin_search");
    encode_search(encoder, "index", &[("index", first)]);
    encoder.bulk(b"find_keys");
    let step = i64::try_from(keys.step).unwrap_or(1);
    encode_search(encoder, "range", &[("lastkey", last), ("keystep", step), ("limit", 0)]);
}

fn encode_search(encoder: &mut Encoder, kind: &str, numbers: &[(&str, i64)]) {
    encoder.map(2);
    encoder.bulk(b"type");
    encoder.bulk(kind.as_bytes());
    encoder.bulk(b"spec");
    encoder.map(numbers.len());
    for (name, number) in numbers {
        encoder.bulk(name.as_bytes());
        encoder.integer(*number);
    }
}

fn encode_docs(encoder: &mut Encoder, count: usize, specs: impl Iterator<Item = &'static Spec>) {
    encoder.map(count);
    for spec in specs {
        encoder.bulk(spec.name.as_bytes());
        let has_subcommands = !spec.subcommands.is_empty();
        encoder.map(4 + usize::from(has_subcommands));
        for (name, text) in [
            ("summary", spec.summary),
            ("since", spec.since),
            ("group", spec.group.name()),
            ("complexity", spec.complexity),
        ] {
            encoder.bulk(name.as_bytes());
            encoder.bulk(text.as_bytes());
        }
        if has_subcommands {
            encoder.bulk(b"subcommands");
            encode_docs(encoder, spec.subcommands.len(), spec.subcommands.iter());
        }
    }
}

fn listed(filter: &ListFilter) -> impl Iterator<Item = &'static str> {
    let all = table::rows().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
    all.filter(move |spec| match filter {
        ListFilter::All => true,
        ListFilter::Nothing => false,
        ListFilter::Category(name) => {
            let is_it = |category: &&str| category.as_bytes().get(1..) == Some(name.as_ref());
            spec.categories().iter().any(is_it)
        }
        ListFilter::Pattern(pattern) => glob::matches(pattern, spec.name.as_bytes()),
    })
    .map(|spec| spec.name)
}

fn keys_of(words: &[Bytes]) -> Result<Vec<Bytes>, ReplyError> {
    let name = words.first().ok_or(ReplyError::InvalidCommand)?;
    let (_, spec) = table::find(name).ok_or(ReplyError::InvalidCommand)?;
    let spec = match words.get(1) {
        Some(word) if !spec.subcommands.is_empty() => {
            spec.subcommand(word).ok_or(ReplyError::InvalidCommand)?
        }
        _ => spec,
    };
    if spec.keys.first == 0 {
        return Err(ReplyError::NoKeyArguments);
    }
    if !spec.takes(words.len()) {
        return Err(ReplyError::InvalidArgumentCount);
    }
    Ok(spec.keys.positions(words.len()).filter_map(|at| words.get(at).cloned()).collect())
}
