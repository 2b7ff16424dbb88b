//! The states of monoid tables in SQL: `merge(state)` comes to one state of many, and
//! `present(state)` says what is in it.

use std::sync::Arc;

use breccia_monoid::Monoid;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, internal_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

/// The aggregate `merge`.
pub(crate) fn merge() -> AggregateUDF {
    let signature = Signature::exact(vec![DataType::Binary], Volatility::Immutable);
    AggregateUDF::new_from_impl(Merge { signature })
}

/// The function `present`.
pub(crate) fn present() -> ScalarUDF {
    let signature = Signature::exact(vec![DataType::Binary], Volatility::Immutable);
    ScalarUDF::new_from_impl(Present { signature })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Merge {
    signature: Signature,
}

impl AggregateUDFImpl for Merge {
    fn name(&self) -> &str {
        "merge"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[state]", args.name), DataType::Binary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match args.is_distinct {
            true => plan_err!("merge does not take distinct states"),
            false => Ok(Box::new(Merging::default())),
        }
    }
}

/// The states of a group so far. They are merged a few at a time.
#[derive(Debug, Default)]
struct Merging {
    state: Option<Vec<u8>>,
}

impl Merging {
    fn take(&mut self, states: &ArrayRef) -> Result<()> {
        let states = states.as_binary::<i32>();
        let own = self.state.take();
        let mut all = own.as_deref().into_iter().chain(states.iter().flatten()).peekable();
        let Some(first) = all.peek() else { return Ok(()) };
        let monoid = Monoid::of(first).map_err(|error| exec_datafusion_err!("{error}"))?;
        let merged = monoid.merge_all(all).map_err(|error| exec_datafusion_err!("{error}"))?;
        self.state = Some(merged);
        Ok(())
    }
}

impl Accumulator for Merging {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match values {
            [states] => self.take(states),
            _ => internal_err!("merge takes one state"),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(self.state.clone())])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(self.state.clone()))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.state.as_ref().map_or(0, Vec::capacity)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Present {
    signature: Signature,
}

impl ScalarUDFImpl for Present {
    fn name(&self) -> &str {
        "present"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [states] = args.args.as_slice() else { return plan_err!("present takes a state") };
        let states = states.to_array(args.number_rows)?;
        let mut shown = StringBuilder::with_capacity(states.len(), 0);
        for state in states.as_binary::<i32>() {
            let text = state.map(|state| {
                let presented = breccia_monoid::present(state);
                presented.map(|presented| presented.to_json().to_string())
            });
            shown.append_option(text.transpose().map_err(|error| exec_datafusion_err!("{error}"))?);
        }
        Ok(ColumnarValue::Array(Arc::new(shown.finish())))
    }
}
