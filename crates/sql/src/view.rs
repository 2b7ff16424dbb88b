//! Other sights of a table than its present rows: `versions('t')`, `as_of('t', instant)` and
//! `states('t')`, to be named where a table is.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use breccia_service::reduce::Sight;
use breccia_types::{Table, TableKind, Timestamp};
use datafusion::catalog::{TableFunction, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::Expr;
use parking_lot::Mutex;

use crate::relation::Relation;

/// Which rows of a table a relation has, and what of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum View {
    /// The present ones.
    #[default]
    Present,
    /// Those of an instant.
    AsOf(Timestamp),
    /// All versions.
    Versions,
    /// The present ones, with their states as they are stored.
    States,
}

impl View {
    /// What is read for it.
    pub(crate) const fn sight(self) -> Sight {
        match self {
            Self::Present | Self::States => Sight::Present,
            Self::AsOf(instant) => Sight::AsOf(instant),
            Self::Versions => Sight::Versions,
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => Ok(()),
            Self::AsOf(instant) => write!(f, ", as_of={}us", instant.as_micros()),
            Self::Versions => f.write_str(", versions"),
            Self::States => f.write_str(", states"),
        }
    }
}

/// The tables that functions have been asked for, in a session.
pub(crate) type Used = Arc<Mutex<BTreeMap<String, Arc<Table>>>>;

/// The functions over these tables. They note which they are asked for.
pub(crate) fn functions(
    tables: &Arc<BTreeMap<String, Arc<Table>>>,
    used: &Used,
) -> Vec<TableFunction> {
    let all = [Sort::Versions, Sort::AsOf, Sort::States];
    let made = all.into_iter().map(|sort| {
        let (tables, used) = (Arc::clone(tables), Arc::clone(used));
        TableFunction::new(sort.name().to_owned(), Arc::new(ViewFunction { sort, tables, used }))
    });
    made.collect()
}

#[derive(Debug, Clone, Copy)]
enum Sort {
    Versions,
    AsOf,
    States,
}

impl Sort {
    const fn name(self) -> &'static str {
        match self {
            Self::Versions => "versions",
            Self::AsOf => "as_of",
            Self::States => "states",
        }
    }
}

#[derive(Debug)]
struct ViewFunction {
    sort: Sort,
    tables: Arc<BTreeMap<String, Arc<Table>>>,
    used: Used,
}

impl TableFunctionImpl for ViewFunction {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let (view, name) = match (self.sort, args.exprs()) {
            (Sort::Versions, [table]) => (View::Versions, text(table)),
            (Sort::AsOf, [table, instant]) => (View::AsOf(self.instant(instant)?), text(table)),
            (Sort::States, [table]) => (View::States, text(table)),
            (Sort::AsOf, _) => {
                return plan_err!(
                    "as_of takes a table and an instant: as_of('prices', '2026-01-31T12:00:00Z')"
                );
            }
            (sort, _) => return plan_err!("{0} takes a table: {0}('prices')", sort.name()),
        };
        let Some(name) = name else {
            return plan_err!("{} takes the name of a table, as text", self.sort.name());
        };
        let Some(table) = self.tables.get(name) else {
            return plan_err!("table '{name}' not found");
        };
        let fits = match view {
            View::States => matches!(table.options.kind, TableKind::Monoid(_)),
            _ => table.options.kind == TableKind::Versioned,
        };
        if !fits {
            let needed = if view == View::States { "monoid" } else { "versioned" };
            let kind = table.options.kind.name();
            return plan_err!(
                "{} needs a {needed} table, and {name:?} is {kind}",
                self.sort.name()
            );
        }
        self.used.lock().insert(name.to_owned(), Arc::clone(table));
        Ok(Arc::new(Relation::seen(Arc::clone(table), view)))
    }
}

impl ViewFunction {
    fn instant(&self, argument: &Expr) -> Result<Timestamp> {
        let micros = match argument {
            Expr::Literal(value, _) => match value {
                ScalarValue::TimestampNanosecond(Some(nanos), _) => Some(nanos.div_euclid(1_000)),
                ScalarValue::TimestampMicrosecond(Some(micros), _) => Some(*micros),
                ScalarValue::TimestampMillisecond(Some(millis), _) => millis.checked_mul(1_000),
                ScalarValue::TimestampSecond(Some(seconds), _) => seconds.checked_mul(1_000_000),
                ScalarValue::Utf8(Some(text)) => {
                    jiff::Timestamp::from_str(text).ok().map(jiff::Timestamp::as_microsecond)
                }
                _ => None,
            },
            _ => None,
        };
        match micros {
            Some(micros) => Ok(Timestamp::from_micros(micros)),
            None => plan_err!(
                "{} takes an instant such as '2026-01-31T12:00:00Z' or now() - interval '1 day', \
                 and not {argument}",
                self.sort.name()
            ),
        }
    }
}

fn text(argument: &Expr) -> Option<&str> {
    match argument {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text),
        // A name without quotes.
        Expr::Column(column) if column.relation.is_none() => Some(&column.name),
        _ => None,
    }
}
