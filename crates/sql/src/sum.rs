//! Sums of integers that fail when they overflow.
//!
//! DataFusion's own sum of 64-bit integers wraps around. This one adds them as decimals of 38
//! digits, which hold more of them than there can be rows, and fails if the result has no room
//! in 64 bits; so it does not matter in which order, and in how many parts, they are added.
//! Sums of everything else are DataFusion's.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};

const WIDE: DataType = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0);

/// The function.
pub(crate) fn checked_sum() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(CheckedSum(sum_udaf())))
}

/// `sum`, over DataFusion's.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedSum(Arc<AggregateUDF>);

fn is_integer(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int64 | DataType::UInt64)
}

/// A field as decimals, if it has integers.
fn widened(field: &FieldRef) -> FieldRef {
    if is_integer(field.data_type()) {
        Arc::new(Field::new(field.name(), WIDE, field.is_nullable()))
    } else {
        Arc::clone(field)
    }
}

fn cast(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(values, to, &options)?)
}

fn narrowed(wide: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    match cast(wide, to) {
        Ok(sums) => Ok(sums),
        Err(_) => {
            exec_err!("a sum has no room in 64 bits; cast what is summed to double or decimal")
        }
    }
}

impl CheckedSum {
    /// What `with` makes of DataFusion's sum, over decimals where integers are summed.
    fn with_wide<T>(
        args: &AccumulatorArgs<'_>,
        with: impl FnOnce(AccumulatorArgs<'_>) -> Result<T>,
    ) -> Result<T> {
        let fields: Vec<_> = args.expr_fields.iter().map(widened).collect();
        with(AccumulatorArgs {
            return_field: widened(&args.return_field),
            expr_fields: &fields,
            ..args.clone()
        })
    }
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.0.return_type(arguments)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.0.coerce_types(arguments)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.0.state_fields(StateFieldsArgs { return_field: widened(&args.return_field), ..args })
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let to = args.return_field.data_type().clone();
        let wide = Self::with_wide(&args, |args| self.0.accumulator(args))?;
        Ok(if is_integer(&to) { Box::new(Checked { wide, to }) } else { wide })
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        let to = args.return_field.data_type().clone();
        if args.is_distinct || !is_integer(&to) {
            return self.0.create_sliding_accumulator(args);
        }
        let wide = Self::with_wide(&args, |args| self.0.create_sliding_accumulator(args))?;
        Ok(Box::new(Checked { wide, to }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.0.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let to = args.return_field.data_type().clone();
        let wide = Self::with_wide(&args, |args| self.0.create_groups_accumulator(args))?;
        Ok(if is_integer(&to) { Box::new(Checked { wide, to }) } else { wide })
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Adds integers in an accumulator of decimals.
#[derive(Debug)]
struct Checked<A> {
    wide: A,
    /// The type of the result.
    to: DataType,
}

fn widen(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    values.iter().map(|values| cast(values, &WIDE)).collect()
}

impl Accumulator for Checked<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.wide.update_batch(&widen(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = self.wide.evaluate()?.to_array()?;
        ScalarValue::try_from_array(&narrowed(&sum, &self.to)?, 0)
    }

    fn size(&self) -> usize {
        self.wide.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.wide.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.wide.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.wide.retract_batch(&widen(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.wide.supports_retract_batch()
    }
}

impl GroupsAccumulator for Checked<Box<dyn GroupsAccumulator>> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.wide.update_batch(&widen(values)?, groups, filter, group_count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        narrowed(&self.wide.evaluate(emit_to)?, &self.to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.wide.state(emit_to)
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        group_count: usize,
    ) -> Result<()> {
        self.wide.merge_batch(states, groups, group_count)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.wide.convert_to_state(&widen(values)?, filter)
    }

    fn size(&self) -> usize {
        self.wide.size()
    }
}
