//! What CONFIG GET and CONFIG SET know: an allow-list.
//!
//! Values are what is true here, in Redis's words. Settings that clients set out of habit
//! and that change nothing here can be set, and are remembered; one whose value the node
//! goes by cannot.

use std::collections::BTreeMap;

use breccia_types::limits::{CONNECTIONS_MAX, RESP_BULK_BYTES_MAX};
use bytes::Bytes;
use parking_lot::RwLock;

use super::error::{ReplyError, shown};
use super::glob;

/// The settings.
#[derive(Debug)]
pub(crate) struct Settings {
    values: RwLock<BTreeMap<&'static str, Setting>>,
}

#[derive(Debug, Clone)]
struct Setting {
    value: String,
    change: Change,
}

/// Who may change a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Any client: nothing goes by it.
    Number,
    /// Any client: nothing goes by it.
    Bytes,
    /// Any client: nothing goes by it.
    Text,
    /// Nobody while the node runs.
    Fixed,
}

/// Settings that depend on nothing.
const CONSTANT: [(&str, &str, Change); 26] = [
    ("activedefrag", "no", Change::Text),
    ("active-expire-effort", "1", Change::Number),
    ("appendonly", "yes", Change::Fixed),
    ("cluster-enabled", "yes", Change::Fixed),
    ("databases", "1", Change::Fixed),
    ("hash-max-listpack-entries", "128", Change::Number),
    ("hash-max-ziplist-entries", "128", Change::Number),
    ("hll-sparse-max-bytes", "3000", Change::Bytes),
    ("hz", "10", Change::Number),
    ("latency-monitor-threshold", "0", Change::Number),
    ("lazyfree-lazy-expire", "no", Change::Text),
    ("lazyfree-lazy-user-del", "no", Change::Text),
    ("lazyfree-lazy-user-flush", "no", Change::Text),
    ("list-max-listpack-size", "-2", Change::Number),
    ("loglevel", "notice", Change::Text),
    ("maxmemory-policy", "noeviction", Change::Fixed),
    ("maxmemory-samples", "5", Change::Number),
    ("min-replicas-to-write", "0", Change::Fixed),
    ("notify-keyspace-events", "", Change::Fixed),
    ("requirepass", "", Change::Fixed),
    ("save", "", Change::Text),
    ("set-max-intset-entries", "512", Change::Number),
    ("slowlog-log-slower-than", "-1", Change::Number),
    ("slowlog-max-len", "0", Change::Number),
    ("timeout", "0", Change::Fixed),
    ("zset-max-ziplist-entries", "128", Change::Number),
];

impl Settings {
    /// The settings of a node with this fsync policy, in its own words.
    pub(crate) fn new(fsync: &str) -> Self {
        let mut values: BTreeMap<_, _> = CONSTANT
            .into_iter()
            .map(|(name, value, change)| (name, Setting { value: value.to_owned(), change }))
            .collect();
        let fsync = match fsync {
            "always" => "always",
            "never" => "no",
            _ => "everysec",
        };
        for (name, value) in [
            ("appendfsync", fsync.to_owned()),
            ("maxclients", CONNECTIONS_MAX.to_string()),
            ("maxmemory", "0".to_owned()),
            ("proto-max-bulk-len", RESP_BULK_BYTES_MAX.to_string()),
        ] {
            values.insert(name, Setting { value, change: Change::Fixed });
        }
        Self { values: RwLock::new(values) }
    }

    /// The settings whose names fit one of the patterns.
    pub(crate) fn get(&self, patterns: &[Bytes]) -> Vec<(&'static str, String)> {
        let fits = |name: &str| patterns.iter().any(|glob| glob::matches(glob, name.as_bytes()));
        let values = self.values.read();
        let chosen = values.iter().filter(|(name, _)| fits(name));
        chosen.map(|(name, setting)| (*name, setting.value.clone())).collect()
    }

    /// Changes all of these, or none.
    ///
    /// # Errors
    /// [`ReplyError::UnknownSetting`] or [`ReplyError::SettingRefused`].
    pub(crate) fn change(&self, changes: &[(Bytes, Bytes)]) -> Result<(), ReplyError> {
        let mut values = self.values.write();
        let mut changed = values.clone();
        for (name, value) in changes {
            let known = std::str::from_utf8(name).ok().and_then(|name| changed.get_mut(name));
            let setting = known.ok_or_else(|| ReplyError::UnknownSetting { name: shown(name) })?;
            setting
                .set(value)
                .map_err(|reason| ReplyError::SettingRefused { name: shown(name), reason })?;
        }
        *values = changed;
        Ok(())
    }
}

impl Setting {
    fn set(&mut self, value: &[u8]) -> Result<(), &'static str> {
        let value = std::str::from_utf8(value).map_err(|_| "argument must be text")?;
        match self.change {
            Change::Number if value.parse::<i64>().is_err() => {
                return Err("argument couldn't be parsed into an integer");
            }
            Change::Bytes if value.parse::<u64>().is_err() => {
                return Err("argument must be a memory value");
            }
            // To set what is so already is no change.
            Change::Fixed if value != self.value => return Err("can't set immutable config"),
            Change::Text if value.len() > super::limits::ECHOED_BYTES_MAX => {
                return Err("argument is too long");
            }
            _ => value.clone_into(&mut self.value),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(settings: &Settings, name: &'static str, value: &'static str) -> Result<(), String> {
        let pair = (Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes()));
        settings.change(&[pair]).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_that_the_node_goes_by_cannot_be_changed() {
        let settings = Settings::new("always");
        assert_eq!(change(&settings, "hll-sparse-max-bytes", "100"), Ok(()));
        assert_eq!(change(&settings, "maxmemory", "0"), Ok(()));
        assert_eq!(
            change(&settings, "maxmemory", "1"),
            Err("ERR CONFIG SET failed (possibly related to argument 'maxmemory') \
                 - can't set immutable config"
                .to_owned())
        );
        assert_eq!(
            change(&settings, "foo", "1"),
            Err("ERR Unknown option or number of arguments for CONFIG SET - 'foo'".to_owned())
        );
        let found = settings.get(&[Bytes::from_static(b"hll*"), Bytes::from_static(b"appendf*")]);
        let expected = [("appendfsync", "always"), ("hll-sparse-max-bytes", "100")];
        assert_eq!(found, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
