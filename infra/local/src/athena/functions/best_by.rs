//! `max_by(x, y)` and `min_by(x, y)`: the `x` of the row whose `y` is largest or smallest. Rows without `y` do not count.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, exec_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

pub(super) fn max_by() -> AggregateUDF {
    BestBy::new("max_by", Ordering::Greater).into()
}

pub(super) fn min_by() -> AggregateUDF {
    BestBy::new("min_by", Ordering::Less).into()
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct BestBy {
    name: &'static str,
    signature: Signature,
    better: Ordering,
}

impl BestBy {
    fn new(name: &'static str, better: Ordering) -> Self {
        Self { name, signature: Signature::any(2, Volatility::Immutable), better }
    }
}

impl AggregateUDFImpl for BestBy {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, taken: &[DataType]) -> Result<DataType> {
        match taken {
            [value, _] => Ok(value.clone()),
            _ => plan_err!("{} takes two arguments", self.name),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let null = |place: usize| {
            let field = args.expr_fields.get(place).ok_or_else(|| exec_datafusion_err!("an argument is missing"))?;
            ScalarValue::try_from(field.data_type())
        };
        Ok(Box::new(Best { value: null(0)?, by: null(1)?, better: self.better }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |name: &str, place: usize| -> Result<FieldRef> {
            let input = args.input_fields.get(place).ok_or_else(|| exec_datafusion_err!("an argument is missing"))?;
            Ok(Arc::new(Field::new(format!("{}[{name}]", args.name), input.data_type().clone(), true)))
        };
        Ok(vec![field("value", 0)?, field("by", 1)?])
    }
}

#[derive(Debug)]
struct Best {
    value: ScalarValue,
    by: ScalarValue,
    better: Ordering,
}

impl Accumulator for Best {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let [values, by] = columns else { return plan_err!("two columns are expected") };
        let order = make_comparator(by, by, SortOptions::default())?;
        let mut best = None;
        for row in (0..by.len()).filter(|row| by.is_valid(*row)) {
            if best.is_none_or(|best| order(row, best) == self.better) {
                best = Some(row);
            }
        }
        let Some(row) = best else { return Ok(()) };
        let found = ScalarValue::try_from_array(by, row)?;
        if self.by.is_null() || found.try_cmp(&self.by)? == self.better {
            self.value = ScalarValue::try_from_array(values, row)?;
            self.by = found;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size() + self.by.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), self.by.clone()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}
