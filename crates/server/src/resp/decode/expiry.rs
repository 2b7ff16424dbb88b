//! EXPIRE, TTL and their kin, and the expiry options of SET and GETEX.

use breccia_types::strings::{ExpireCondition, SetCondition, StringWrite};
use breccia_types::{NodeClock, Timestamp};

use super::super::arguments::Arguments;
use super::super::command::{Command, Decoded, Read, Unit, View, WriteReply};
use super::super::error::{ReplyError, shown};
use super::number::integer;
use super::strings::instant;

/// When a value expires, as SET and GETEX are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    SecondsFromNow(i64),
    MillisecondsFromNow(i64),
    Seconds(i64),
    Milliseconds(i64),
}

impl Moment {
    /// The instant, which must lie after 1970 and within 64 bits of milliseconds.
    pub(super) fn resolve(
        self,
        command: &'static str,
        clock: &NodeClock,
    ) -> Result<Timestamp, ReplyError> {
        let (number, thousands, from_now) = match self {
            Self::SecondsFromNow(number) => (number, 1_000, true),
            Self::MillisecondsFromNow(number) => (number, 1, true),
            Self::Seconds(number) => (number, 1_000, false),
            Self::Milliseconds(number) => (number, 1, false),
        };
        let base = if from_now { clock.now().as_millis() } else { 0 };
        Some(number)
            .filter(|number| *number > 0)
            .and_then(|number| number.checked_mul(thousands))
            .and_then(|millis| millis.checked_add(base))
            .map(instant)
            .ok_or(ReplyError::InvalidExpiry { command })
    }
}

/// The options of SET, or those of GETEX.
#[derive(Debug, Default)]
pub(super) struct SetOptions {
    pub(super) condition: SetCondition,
    pub(super) return_previous: bool,
    pub(super) keep: bool,
    pub(super) persist: bool,
    pub(super) expiry: Option<Moment>,
}

impl SetOptions {
    /// Reads the options from a position on. What excludes each other is a syntax error; an
    /// expiry may be given again in the same unit, and the last one counts.
    pub(super) fn parse(
        arguments: Arguments<'_>,
        first: usize,
        of_set: bool,
    ) -> Result<Self, ReplyError> {
        let mut options = Self::default();
        let mut unit: Option<&'static str> = None;
        let mut text: &[u8] = &[];
        let mut at = first;
        while at < arguments.len() {
            let known =
                ["EX", "PX", "EXAT", "PXAT"].into_iter().find(|word| arguments.is(at, word));
            let is_free = !options.keep && !options.persist;
            match known {
                Some(word) if is_free && unit.is_none_or(|unit| unit == word) => {
                    at += 1;
                    if at == arguments.len() {
                        return Err(ReplyError::Syntax);
                    }
                    (unit, text) = (Some(word), arguments.get(at));
                }
                Some(_) => return Err(ReplyError::Syntax),
                None => options.flag(arguments, at, (of_set, unit.is_some()))?,
            }
            at += 1;
        }
        options.expiry = match unit {
            Some("EX") => Some(Moment::SecondsFromNow(integer(text)?)),
            Some("PX") => Some(Moment::MillisecondsFromNow(integer(text)?)),
            Some("EXAT") => Some(Moment::Seconds(integer(text)?)),
            Some(_) => Some(Moment::Milliseconds(integer(text)?)),
            None => None,
        };
        Ok(options)
    }

    fn flag(
        &mut self,
        arguments: Arguments<'_>,
        at: usize,
        (of_set, has_expiry): (bool, bool),
    ) -> Result<(), ReplyError> {
        let is = |word| arguments.is(at, word);
        if of_set && is("NX") && self.condition != SetCondition::IfPresent {
            self.condition = SetCondition::IfAbsent;
        } else if of_set && is("XX") && self.condition != SetCondition::IfAbsent {
            self.condition = SetCondition::IfPresent;
        } else if of_set && is("GET") {
            self.return_previous = true;
        } else if of_set && is("KEEPTTL") && !has_expiry {
            self.keep = true;
        } else if !of_set && is("PERSIST") && !has_expiry {
            self.persist = true;
        } else {
            return Err(ReplyError::Syntax);
        }
        Ok(())
    }
}

pub(crate) fn expire(arguments: Arguments<'_>, clock: &NodeClock) -> Decoded {
    expire_at(arguments, "expire", (Unit::Seconds, clock.now().as_millis()))
}

pub(crate) fn pexpire(arguments: Arguments<'_>, clock: &NodeClock) -> Decoded {
    expire_at(arguments, "pexpire", (Unit::Milliseconds, clock.now().as_millis()))
}

pub(crate) fn expireat(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    expire_at(arguments, "expireat", (Unit::Seconds, 0))
}

pub(crate) fn pexpireat(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    expire_at(arguments, "pexpireat", (Unit::Milliseconds, 0))
}

fn expire_at(
    arguments: Arguments<'_>,
    command: &'static str,
    (unit, base_millis): (Unit, i64),
) -> Decoded {
    let condition = expire_condition(arguments)?;
    let number = integer(arguments.get(2))?;
    let millis = match unit {
        Unit::Seconds => number.checked_mul(1_000),
        Unit::Milliseconds => Some(number),
    };
    let at = millis
        .and_then(|millis| millis.checked_add(base_millis))
        .ok_or(ReplyError::InvalidExpiry { command })?;
    let write = StringWrite::Expire { key: arguments.bytes(1), at: instant(at), condition };
    Ok(Command::Write(write, WriteReply::Plain))
}

fn expire_condition(arguments: Arguments<'_>) -> Result<ExpireCondition, ReplyError> {
    let mut condition = ExpireCondition::default();
    for at in 3..arguments.len() {
        if arguments.is(at, "NX") {
            condition.if_none = true;
        } else if arguments.is(at, "XX") {
            condition.if_some = true;
        } else if arguments.is(at, "GT") {
            condition.if_later = true;
        } else if arguments.is(at, "LT") {
            condition.if_earlier = true;
        } else {
            return Err(ReplyError::UnsupportedOption { option: shown(arguments.get(at)) });
        }
    }
    let ExpireCondition { if_none, if_some, if_later, if_earlier } = condition;
    if if_none && (if_some || if_later || if_earlier) {
        return Err(ReplyError::ExpireConditionsExclude);
    }
    if if_later && if_earlier {
        return Err(ReplyError::LaterAndEarlier);
    }
    Ok(condition)
}

pub(crate) fn persist(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Write(StringWrite::Persist { key: arguments.bytes(1) }, WriteReply::Plain))
}

fn view(arguments: Arguments<'_>, view: View) -> Decoded {
    Ok(Command::Read(Read::One { key: arguments.bytes(1), view }))
}

pub(crate) fn ttl(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    view(arguments, View::TimeToLive(Unit::Seconds))
}

pub(crate) fn pttl(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    view(arguments, View::TimeToLive(Unit::Milliseconds))
}

pub(crate) fn expiretime(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    view(arguments, View::ExpiresAt(Unit::Seconds))
}

pub(crate) fn pexpiretime(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    view(arguments, View::ExpiresAt(Unit::Milliseconds))
}
