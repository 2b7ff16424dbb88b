//! Finding a command by its name.

use std::sync::LazyLock;

use super::{Spec, beyond, connection, keys, server, strings};

/// The commands in the order in which they are told.
pub(crate) fn rows() -> impl Iterator<Item = &'static Spec> {
    let of_redis = strings::ROWS.iter().chain(&keys::ROWS).chain(&connection::ROWS);
    of_redis.chain(&server::ROWS).chain(&beyond::ROWS)
}

/// How many commands there are.
pub(crate) const ROWS_MAX: usize = strings::ROWS.len()
    + keys::ROWS.len()
    + connection::ROWS.len()
    + server::ROWS.len()
    + beyond::ROWS.len();

/// The command of this name, in any case, and its position among all. Nothing is allocated.
pub(crate) fn find(name: &[u8]) -> Option<(usize, &'static Spec)> {
    let mut place = hash(name);
    // Half of the buckets are empty, so this ends.
    loop {
        let bucket = BUCKETS.get(place % BUCKET_COUNT)?.as_ref()?;
        if bucket.spec.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some((bucket.position, bucket.spec));
        }
        place += 1;
    }
}

/// The name of the command at a position.
pub(crate) fn name_at(position: usize) -> Option<&'static str> {
    rows().nth(position).map(|spec| spec.name)
}

const BUCKET_COUNT: usize = 512;
const _: () = assert!(ROWS_MAX * 2 <= BUCKET_COUNT);

struct Bucket {
    position: usize,
    spec: &'static Spec,
}

static BUCKETS: LazyLock<Vec<Option<Bucket>>> = LazyLock::new(|| {
    let mut buckets: Vec<Option<Bucket>> = Vec::new();
    buckets.resize_with(BUCKET_COUNT, || None);
    for (position, spec) in rows().enumerate() {
        let mut place = hash(spec.name.as_bytes());
        while let Some(bucket) = buckets.get_mut(place % BUCKET_COUNT) {
            if bucket.is_none() {
                *bucket = Some(Bucket { position, spec });
                break;
            }
            place += 1;
        }
    }
    buckets
});

/// The same for upper and lower case.
fn hash(name: &[u8]) -> usize {
    let mix = |hash: usize, byte: &u8| (hash ^ usize::from(byte | 0x20)).wrapping_mul(0x0100_0193);
    let hash = name.iter().fold(name.len(), mix);
    (hash ^ (hash >> 15)) % BUCKET_COUNT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_in_any_case() {
        for (position, spec) in rows().enumerate() {
            for name in [spec.name.to_owned(), spec.name.to_uppercase()] {
                let (found, row) = find(name.as_bytes()).expect(&name);
                assert_eq!((found, row.name), (position, spec.name));
            }
        }
        for name in ["", "g", "gett", "foo", "client|id", "\u{0}"] {
            assert!(find(name.as_bytes()).is_none(), "{name}");
        }
    }

    #[test]
    fn subcommands_carry_their_containers_name_and_help() {
        for container in rows().filter(|spec| !spec.subcommands.is_empty()) {
            assert!(container.subcommand(b"HELP").is_some(), "{}", container.name);
            for sub in container.subcommands {
                assert_eq!(sub.name, format!("{}|{}", container.name, sub.own_name()));
            }
        }
    }
}
