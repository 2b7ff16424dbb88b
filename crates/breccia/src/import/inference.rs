//! The types of columns, found from all of a file's values.
//!
//! A type is given to a column only if every value of the whole file has it, and only if
//! nothing is lost by it: `007` and a number of twenty digits stay text, because no number
//! would give them back. Empty fields and `NA` are missing values, and say nothing.

use breccia_types::{Column, ColumnType};
use jiff::civil::DateTime;
use serde_json::Value;

/// Integers up to this size are exact as floating-point numbers.
const EXACT_FLOAT_MAX: u64 = 1 << 53;

/// What the values of one column have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Evidence {
    /// Present values.
    present: u64,
    kinds: Kinds,
}

/// The kinds of value that were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Kinds(u16);

impl Kinds {
    const BOOLEAN: Self = Self(1);
    const INTEGER: Self = Self(1 << 1);
    /// An integer that a floating-point number cannot hold exactly; also an integer.
    const WIDE: Self = Self(1 << 2);
    const FLOAT: Self = Self(1 << 3);
    const ZONED: Self = Self(1 << 4);
    /// A date with time that says nothing of its zone.
    const CIVIL: Self = Self(1 << 5);
    const TEXT: Self = Self(1 << 6);
    const NESTED: Self = Self(1 << 7);

    const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether nothing but `allowed` was seen.
    const fn only(self, allowed: Self) -> bool {
        self.0 & !allowed.0 == 0
    }

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl Evidence {
    /// Takes a field of a CSV or TSV file into account.
    pub(crate) fn observe_text(&mut self, text: &str) {
        if is_missing(text) {
            return;
        }
        self.present += 1;
        if !self.kinds.has(Kinds::TEXT) {
            self.kinds = self.kinds.with(kinds_of(text));
        }
    }

    /// Takes a member of a JSON document into account.
    pub(crate) fn observe_json(&mut self, value: &Value) {
        let kinds = match value {
            Value::Null => return,
            Value::Bool(_) => Kinds::BOOLEAN,
            Value::Number(number) => match number.as_i64() {
                Some(integer) => integer_kinds(integer),
                None => Kinds::FLOAT,
            },
            Value::String(text) => time_kind(text).unwrap_or(Kinds::TEXT),
            Value::Array(_) | Value::Object(_) => Kinds::NESTED,
        };
        self.present += 1;
        self.kinds = self.kinds.with(kinds);
    }

    /// How many values are present.
    pub(crate) const fn present(&self) -> u64 {
        self.present
    }

    /// The type of a column of text fields: text if they share nothing else.
    pub(crate) fn type_of_texts(&self) -> ColumnType {
        self.shared().unwrap_or(ColumnType::Text)
    }

    /// The type of a column of JSON members: `Json` if they share nothing else.
    pub(crate) fn type_of_json(&self) -> ColumnType {
        let strings = Kinds::TEXT.with(Kinds::ZONED).with(Kinds::CIVIL);
        match self.shared() {
            Some(shared) => shared,
            None if self.present > 0 && self.kinds.only(strings) => ColumnType::Text,
            None => ColumnType::Json,
        }
    }

    fn shared(&self) -> Option<ColumnType> {
        let integer = Kinds::INTEGER.with(Kinds::WIDE);
        if self.present == 0 {
            None
        } else if self.kinds.only(Kinds::BOOLEAN) {
            Some(ColumnType::Boolean)
        } else if self.kinds.only(integer) {
            Some(ColumnType::Integer)
        } else if self.kinds.only(Kinds::INTEGER.with(Kinds::FLOAT)) {
            Some(ColumnType::Float)
        } else if self.kinds.only(Kinds::ZONED) || self.kinds.only(Kinds::CIVIL) {
            Some(ColumnType::Timestamp)
        } else {
            None
        }
    }
}

/// Whether a field of a CSV or TSV file stands for a missing value.
pub(crate) fn is_missing(text: &str) -> bool {
    text.is_empty() || text == "NA"
}

/// What the values of a file are before they get their types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Fields of CSV or TSV: any of them can be written as text.
    Fields,
    /// Members of JSON documents, which have their types.
    Members,
}

/// The columns of a table in which rows of both descriptions lie: those it had, and those
/// of the file.
pub(crate) fn merge_columns(old: &[Column], new: &[Column], origin: Origin) -> Vec<Column> {
    let mut merged: Vec<Column> = old
        .iter()
        .map(|column| match new.iter().find(|other| other.name == column.name) {
            None => Column { nullable: true, ..column.clone() },
            Some(other) => Column {
                name: column.name.clone(),
                column_type: merge_types(column.column_type, other.column_type, origin),
                nullable: column.nullable || other.nullable,
            },
        })
        .collect();
    let added = new.iter().filter(|column| old.iter().all(|other| other.name != column.name));
    merged.extend(added.map(|column| Column { nullable: true, ..column.clone() }));
    merged
}

/// The narrowest type that holds values of both.
const fn merge_types(old: ColumnType, new: ColumnType, origin: Origin) -> ColumnType {
    use ColumnType::{Boolean, Float, Integer, Json, Text, Timestamp};
    match (old, new) {
        (Boolean, Boolean) => Boolean,
        (Integer, Integer) => Integer,
        (Integer | Float, Integer | Float) => Float,
        (Timestamp, Timestamp) => Timestamp,
        (Text | Timestamp, Text | Timestamp) => Text,
        (Text, _) if matches!(origin, Origin::Fields) => Text,
        _ => Json,
    }
}

/// Writes a field as the JSON value of its column's type; the type must hold it, else
/// nothing is written and the answer is `false`.
pub(crate) fn write_json(out: &mut Vec<u8>, column_type: ColumnType, text: &str) -> bool {
    if is_missing(text) {
        out.extend_from_slice(b"null");
        return true;
    }
    match column_type {
        ColumnType::Boolean => match boolean(text) {
            Some(true) => out.extend_from_slice(b"true"),
            Some(false) => out.extend_from_slice(b"false"),
            None => return false,
        },
        ColumnType::Integer if integer(text).is_some() => out.extend_from_slice(text.as_bytes()),
        ColumnType::Integer => return false,
        ColumnType::Float => return write_float(out, text),
        ColumnType::Timestamp | ColumnType::Text => return write_text(out, text),
        ColumnType::Json => {
            let mut own = Evidence::default();
            own.observe_text(text);
            return write_json(out, own.type_of_texts(), text);
        }
    }
    true
}

/// Writes a JSON string.
fn write_text(out: &mut Vec<u8>, text: &str) -> bool {
    serde_json::to_writer(out, text).is_ok()
}

/// Writes a number with its own digits where JSON knows that spelling.
fn write_float(out: &mut Vec<u8>, text: &str) -> bool {
    if !is_number(text) {
        return false;
    }
    let bytes = text.as_bytes();
    let plain = bytes.first().is_some_and(|byte| *byte == b'-' || byte.is_ascii_digit())
        && bytes.last().is_some_and(u8::is_ascii_digit)
        && !text.starts_with("-.")
        && !text.contains(".e")
        && !text.contains(".E");
    if plain {
        out.extend_from_slice(bytes);
        return true;
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => serde_json::to_writer(out, &number).is_ok(),
        _ => false,
    }
}

fn kinds_of(text: &str) -> Kinds {
    let Some(first) = text.as_bytes().first() else {
        return Kinds::TEXT;
    };
    match first {
        b'0'..=b'9' | b'-' | b'+' | b'.' => match integer(text) {
            Some(value) => integer_kinds(value),
            None if is_number(text) => Kinds::FLOAT,
            None => time_kind(text).unwrap_or(Kinds::TEXT),
        },
        b't' | b'T' | b'f' | b'F' if boolean(text).is_some() => Kinds::BOOLEAN,
        _ => Kinds::TEXT,
    }
}

const fn integer_kinds(value: i64) -> Kinds {
    if value.unsigned_abs() > EXACT_FLOAT_MAX { Kinds::WIDE } else { Kinds::INTEGER }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// An integer in its only spelling: no plus sign, no leading zeros, no minus zero.
fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = match digits.as_bytes() {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if canonical { text.parse().ok() } else { None }
}

/// Whether a text is a decimal number that is no whole number of the spelling above:
/// with a fraction or an exponent, of finite value, without leading zeros.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole_end = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
    let (whole, rest) = unsigned.split_at(whole_end);
    if whole.len() > 1 && whole.starts_with('0') {
        return false;
    }
    if rest.is_empty() {
        // Whole numbers: what `integer` holds, and minus zero. Others would lose digits.
        return integer(text).is_some() || text == "-0";
    }
    let (fraction, exponent) = match rest.strip_prefix('.') {
        Some(tail) => {
            let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
            tail.split_at(end)
        }
        None => ("", rest),
    };
    let digits = !whole.is_empty() || !fraction.is_empty();
    let exponent_valid = match exponent.strip_prefix(['e', 'E']) {
        Some(power) => {
            let power = power.strip_prefix(['-', '+']).unwrap_or(power);
            !power.is_empty() && power.bytes().all(|byte| byte.is_ascii_digit())
        }
        None => exponent.is_empty(),
    };
    digits && exponent_valid && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// Whether a text is a date with time, and whether it names its zone.
fn time_kind(text: &str) -> Option<Kinds> {
    // `2013-01-01T10:00` is the shortest; the look at a few bytes spares most texts the parser.
    let bytes = text.as_bytes();
    let shaped = bytes.len() >= 16
        && bytes.get(4) == Some(&b'-')
        && bytes.get(7) == Some(&b'-')
        && matches!(bytes.get(10), Some(b'T' | b't' | b' '))
        && bytes.get(13) == Some(&b':');
    if !shaped {
        return None;
    }
    if text.parse::<jiff::Timestamp>().is_ok() {
        return Some(Kinds::ZONED);
    }
    text.parse::<DateTime>().is_ok().then_some(Kinds::CIVIL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_of(texts: &[&str]) -> ColumnType {
        let mut evidence = Evidence::default();
        texts.iter().for_each(|text| evidence.observe_text(text));
        evidence.type_of_texts()
    }

    fn json(column_type: ColumnType, text: &str) -> Option<String> {
        let mut out = Vec::new();
        write_json(&mut out, column_type, text)
            .then(|| String::from_utf8(out).expect("JSON is UTF-8"))
    }

    #[test]
    fn a_type_must_hold_every_value_without_loss() {
        use ColumnType::{Boolean, Float, Integer, Text, Timestamp};
        for (texts, want) in [
            (&["1", "-2", "0", "NA", ""][..], Integer),
            (&["9223372036854775807"], Integer),
            (&["9223372036854775808"], Text),
            (&["1", "1.5", "-.5", "1e3", "+2.0", "-0"], Float),
            (&["9007199254740993", "1.5"], Text),
            (&["007", "1"], Text),
            (&["1.5", "01.5"], Text),
            (&["+5"], Text),
            (&["1e999"], Text),
            (&["inf", "nan"], Text),
            (&["true", "FALSE"], Boolean),
            (&["true", "1"], Text),
            (&["t"], Text),
            (&["2013-01-01T10:00:00Z", "2013-01-01 10:00:00+02:00"], Timestamp),
            (&["2013-01-01 10:00:00", "2013-01-01T10:00"], Timestamp),
            (&["2013-01-01 10:00:00", "2013-01-01T10:00:00Z"], Text),
            (&["2013-13-01T10:00:00Z"], Text),
            (&["2013-01-01"], Text),
            (&["1", "2013-01-01T10:00:00Z"], Text),
            (&["NA", ""], Text),
            (&[" 1"], Text),
        ] {
            assert_eq!(type_of(texts), want, "{texts:?}");
        }
    }

    #[test]
    fn every_value_is_written_as_valid_json_of_its_type() {
        use ColumnType::{Boolean, Float, Integer, Json, Text};
        for (column_type, text, want) in [
            (Integer, "-5", "-5"),
            (Integer, "NA", "null"),
            (Float, "1.50", "1.50"),
            (Float, "3", "3"),
            (Float, ".5", "0.5"),
            (Float, "-.5", "-0.5"),
            (Float, "5.", "5.0"),
            (Float, "+2.5", "2.5"),
            (Float, "1.e3", "1000.0"),
            (Float, "1E5", "1E5"),
            (Boolean, "TRUE", "true"),
            (Text, "a\"b\n", r#""a\"b\n""#),
            (Json, "5", "5"),
            (Json, "x", "\"x\""),
        ] {
            let written = json(column_type, text).expect(text);
            assert_eq!(written, want);
            assert!(serde_json::from_str::<Value>(&written).is_ok(), "{written}");
        }
    }

    #[test]
    fn a_value_that_its_type_does_not_hold_is_refused() {
        assert_eq!(json(ColumnType::Integer, "x"), None);
        assert_eq!(json(ColumnType::Float, "x"), None);
        assert_eq!(json(ColumnType::Boolean, "1"), None);
    }

    #[test]
    fn json_members_keep_the_types_they_have() {
        let type_of = |members: &str| {
            let mut evidence = Evidence::default();
            let members: Vec<Value> = serde_json::from_str(members).expect("JSON");
            members.iter().for_each(|member| evidence.observe_json(member));
            evidence.type_of_json()
        };
        assert_eq!(type_of("[1, null, -2]"), ColumnType::Integer);
        assert_eq!(type_of("[1, 2.5]"), ColumnType::Float);
        assert_eq!(type_of(r#"["1", "2"]"#), ColumnType::Text);
        assert_eq!(type_of(r#"["2013-01-01T10:00:00Z", "x"]"#), ColumnType::Text);
        assert_eq!(type_of(r#"["2013-01-01T10:00:00Z"]"#), ColumnType::Timestamp);
        assert_eq!(type_of(r#"[1, "x"]"#), ColumnType::Json);
        assert_eq!(type_of("[[1]]"), ColumnType::Json);
        assert_eq!(type_of("[]"), ColumnType::Json);
    }

    #[test]
    fn a_second_file_widens_the_description() {
        let column = |name: &str, column_type, nullable| Column {
            name: name.to_owned(),
            column_type,
            nullable,
        };
        let old = [
            column("a", ColumnType::Integer, false),
            column("b", ColumnType::Text, false),
            column("c", ColumnType::Boolean, false),
            column("zip", ColumnType::Text, false),
        ];
        let new = [
            column("a", ColumnType::Float, false),
            column("c", ColumnType::Text, true),
            column("d", ColumnType::Text, false),
            column("zip", ColumnType::Integer, false),
        ];
        let mixed = merge_columns(&old, &new, Origin::Members);
        assert_eq!(mixed[3].column_type, ColumnType::Json);
        assert_eq!(
            merge_columns(&old, &new, Origin::Fields),
            [
                column("a", ColumnType::Float, false),
                column("b", ColumnType::Text, true),
                column("c", ColumnType::Json, true),
                column("zip", ColumnType::Text, false),
                column("d", ColumnType::Text, true),
            ]
        );
    }
}
