//! Reduce functions of users as aggregates.
//!
//! `f(value)` shows the function each value, `f(key, value)` each pair; what is no text is
//! shown as text, and rows with a null are left out. The result is what the function presents,
//! as text. States travel as they are, so a query takes the function to the shards as it
//! takes `sum`. The versions that a query means travel with its text.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use breccia_functions::{Aggregate, FunctionVersion, Modules};
use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{
    Result, ScalarValue, exec_datafusion_err, exec_err, internal_err, plan_err,
};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};

/// The aggregate that a version of a function is.
pub(crate) fn aggregate(function: &FunctionVersion, modules: &Arc<Modules>) -> AggregateUDF {
    AggregateUDF::new_from_impl(ByFunction {
        function: function.clone(),
        aggregate: Aggregate::new(function.clone(), Arc::clone(modules)),
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

struct ByFunction {
    function: FunctionVersion,
    aggregate: Aggregate,
    signature: Signature,
}

impl fmt::Debug for ByFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ByFunction").field(&self.function).finish()
    }
}

impl PartialEq for ByFunction {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function
    }
}

impl Eq for ByFunction {}

impl Hash for ByFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.hash(state);
    }
}

impl AggregateUDFImpl for ByFunction {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments.len() {
            count @ (1 | 2) => Ok(vec![DataType::Utf8; count]),
            count => plan_err!(
                "the function {} takes a value, or a key and a value, and not {count} arguments",
                self.name()
            ),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format!("{}[state]", args.name);
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return plan_err!("the function {} does not take distinct values", self.name());
        }
        Ok(Box::new(Reducing { aggregate: self.aggregate.clone(), state: None }))
    }
}

/// One group.
#[derive(Debug)]
struct Reducing {
    aggregate: Aggregate,
    /// `None` before the first row.
    state: Option<Bytes>,
}

impl Reducing {
    fn state(&self) -> Bytes {
        self.state.clone().unwrap_or_default()
    }
}

impl Accumulator for Reducing {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let texts = values.iter().map(|values| cast(values, &DataType::Utf8));
        let texts: Vec<ArrayRef> = texts.collect::<Result<_, _>>()?;
        let texts: Vec<&StringArray> = texts.iter().map(|texts| texts.as_string::<i32>()).collect();
        let (keys, values) = match texts.as_slice() {
            [values] => (None, *values),
            [keys, values] => (Some(*keys), *values),
            _ => return internal_err!("a function has no arguments"),
        };
        let rows = (0..values.len()).filter_map(|at| {
            let key = match keys {
                Some(keys) => keys.is_valid(at).then(|| keys.value(at).as_bytes())?,
                None => &[],
            };
            values.is_valid(at).then(|| (key, values.value(at).as_bytes()))
        });
        let stepped = self.aggregate.step(self.state.clone(), rows);
        self.state = stepped.map_err(|error| exec_datafusion_err!("{error}"))?;
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [states] = states else { return internal_err!("a function has one state") };
        let states: &BinaryArray = states.as_binary::<i32>();
        for state in states.iter().flatten() {
            let state = Bytes::copy_from_slice(state);
            self.state = Some(match self.state.take() {
                None => state,
                Some(own) => {
                    let both = self.aggregate.combine(&own, &state);
                    both.map_err(|error| exec_datafusion_err!("{error}"))?
                }
            });
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(self.state.clone().map(Vec::from))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.state.is_none() {
            return Ok(ScalarValue::Utf8(None));
        }
        let shown = self.aggregate.present(&Self::state(self));
        let shown = shown.map_err(|error| exec_datafusion_err!("{error}"))?;
        match String::from_utf8(shown.into()) {
            Ok(text) => Ok(ScalarValue::Utf8(Some(text))),
            Err(_) => exec_err!("what the function presents is no text"),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.state.as_ref().map_or(0, Bytes::len)
    }
}
