//! The keys that a query's conditions leave over.

use std::fmt;

use breccia_types::limits::KEY_BYTES_MAX;
use breccia_types::reduce::KeyRange;
use bytes::Bytes;
use datafusion::logical_expr::expr::{InList, Like};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::relation::KEY;

/// What a condition says of keys: a range that holds at least those that meet it.
enum Bound {
    /// From the first, included, to the second, excluded.
    Range(Option<Bytes>, Option<Bytes>),
    Prefix(Bytes),
}

/// Whether a condition bounds the keys.
pub(crate) fn bounds_keys(condition: &Expr) -> bool {
    bound_of(condition).is_some()
}

/// The keys that can meet all these conditions.
pub(crate) fn range_of(conditions: &[Expr]) -> KeyRange {
    let mut range = KeyRange::default();
    for bound in conditions.iter().filter_map(bound_of) {
        match bound {
            Bound::Range(from, to) => {
                range.from = range.from.max(from);
                range.to = match (range.to, to) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
            Bound::Prefix(prefix) if prefix.starts_with(&range.prefix) => range.prefix = prefix,
            // Of two that exclude each other, one is enough: the conditions are tested again.
            Bound::Prefix(_) => {}
        }
    }
    range
}

/// Says which keys are scanned, if not all.
pub(crate) fn describe(keys: &KeyRange, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let KeyRange { prefix, from, to } = keys;
    if !prefix.is_empty() {
        write!(f, ", prefix={}", prefix.escape_ascii())?;
    }
    if let Some(from) = from {
        write!(f, ", from={}", from.escape_ascii())?;
    }
    if let Some(to) = to {
        write!(f, ", before={}", to.escape_ascii())?;
    }
    Ok(())
}

fn bound_of(condition: &Expr) -> Option<Bound> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (&**left, &**right) {
            (Expr::Column(column), Expr::Literal(..)) if column.name == KEY => {
                compared(*op, &text(right)?)
            }
            (Expr::Literal(..), Expr::Column(column)) if column.name == KEY => {
                compared(op.swap()?, &text(left)?)
            }
            _ => None,
        },
        Expr::Like(Like {
            negated: false,
            expr,
            pattern,
            escape_char: None,
            case_insensitive: false,
        }) if is_key(expr) => {
            let pattern = text(pattern)?;
            let prefix = pattern.split(['%', '_', '\\']).next().unwrap_or_default();
            let fits = !prefix.is_empty() && prefix.len() <= KEY_BYTES_MAX;
            fits.then(|| Bound::Prefix(Bytes::copy_from_slice(prefix.as_bytes())))
        }
        Expr::InList(InList { expr, list, negated: false }) if is_key(expr) => {
            let mut keys: Vec<String> = list.iter().map(text).collect::<Option<_>>()?;
            keys.sort_unstable();
            let (first, last) = (keys.first()?, keys.last()?);
            Some(Bound::Range(Some(at(first)?), Some(after(last)?)))
        }
        _ => None,
    }
}

fn compared(operator: Operator, key: &str) -> Option<Bound> {
    Some(match operator {
        Operator::Eq => Bound::Range(Some(at(key)?), Some(after(key)?)),
        Operator::GtEq => Bound::Range(Some(at(key)?), None),
        Operator::Gt => Bound::Range(Some(after(key)?), None),
        Operator::Lt => Bound::Range(None, Some(at(key)?)),
        Operator::LtEq => Bound::Range(None, Some(after(key)?)),
        _ => return None,
    })
}

fn is_key(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == KEY)
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
        _ => None,
    }
}

/// The key of this text, if there can be such a key.
fn at(key: &str) -> Option<Bytes> {
    (key.len() < KEY_BYTES_MAX).then(|| Bytes::copy_from_slice(key.as_bytes()))
}

/// The smallest key after it.
fn after(key: &str) -> Option<Bytes> {
    (key.len() < KEY_BYTES_MAX).then(|| [key.as_bytes(), &[0]].concat().into())
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    fn range(conditions: &[Expr]) -> (String, Option<String>, Option<String>) {
        let text = |bytes: Bytes| bytes.escape_ascii().to_string();
        let KeyRange { prefix, from, to } = range_of(conditions);
        (text(prefix), from.map(text), to.map(text))
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn comparisons_with_the_key_bound_it() {
        let key = || col(KEY);
        for (condition, from, to) in [
            (key().eq(lit("b")), some("b"), some(r"b\x00")),
            (key().gt(lit("b")), some(r"b\x00"), None),
            (key().gt_eq(lit("b")), some("b"), None),
            (lit("b").gt(key()), None, some("b")),
            (key().lt_eq(lit("b")), None, some(r"b\x00")),
            (key().in_list(vec![lit("c"), lit("a")], false), some("a"), some(r"c\x00")),
        ] {
            assert!(bounds_keys(&condition));
            let text = condition.to_string();
            assert_eq!(range(&[condition]), (String::new(), from, to), "{text}");
        }
        let between = [key().gt_eq(lit("a")), key().gt_eq(lit("b")), key().lt(lit("d"))];
        assert_eq!(range(&between), (String::new(), some("b"), some("d")));
    }

    #[test]
    fn a_pattern_bounds_the_key_by_what_stands_before_its_first_wildcard() {
        for (pattern, prefix) in [("ab%", "ab"), ("ab_c%", "ab"), ("ab", "ab"), (r"a\%b%", "a")] {
            let condition = col(KEY).like(lit(pattern));
            assert_eq!(range(&[condition]).0, prefix, "{pattern}");
        }
        let both = [col(KEY).like(lit("a%")), col(KEY).like(lit("ab%"))];
        assert_eq!(range(&both).0, "ab");
    }

    #[test]
    fn other_conditions_bound_nothing() {
        for condition in [
            col("other").eq(lit("b")),
            col(KEY).not_eq(lit("b")),
            col(KEY).like(lit("%b")),
            col(KEY).not_like(lit("b%")),
            col(KEY).ilike(lit("b%")),
            col(KEY).eq(lit("b")).or(col("other").eq(lit(1))),
            col(KEY).in_list(vec![lit("a")], true),
        ] {
            assert!(!bounds_keys(&condition), "{condition}");
        }
    }
}
