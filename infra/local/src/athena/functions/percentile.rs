//! `approx_percentile(x, p)` and `approx_percentile(x, ARRAY[…])`, over one t-digest however many are asked.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::approx_percentile_cont::ApproxPercentileAccumulator;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Signature, Volatility};

/// The place of the count in the digest's state.
const COUNT: usize = 2;

pub(super) fn approx_percentile() -> AggregateUDF {
    Percentile { signature: Signature::user_defined(Volatility::Immutable) }.into()
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Percentile {
    signature: Signature,
}

impl AggregateUDFImpl for Percentile {
    fn name(&self) -> &'static str {
        "approx_percentile"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let [value, percentile] = given else {
            return plan_err!("approx_percentile with a weight or an accuracy is not supported by the local Athena");
        };
        let value = match value {
            DataType::Decimal128(..) | DataType::Null => DataType::Float64,
            value if value.is_numeric() => value.clone(),
            other => return plan_err!("Unexpected parameters ({other}) for function approx_percentile"),
        };
        let percentile = match percentile {
            DataType::List(_) => DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true))),
            percentile if percentile.is_numeric() => DataType::Float64,
            other => return plan_err!("Unexpected parameters ({other}) for function approx_percentile"),
        };
        Ok(vec![value, percentile])
    }

    fn return_type(&self, taken: &[DataType]) -> Result<DataType> {
        match taken {
            [value, DataType::List(_)] => Ok(DataType::List(Arc::new(Field::new_list_field(value.clone(), true)))),
            [value, _] => Ok(value.clone()),
            _ => plan_err!("approx_percentile takes two arguments"),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let [value, percentile] = args.exprs else { return plan_err!("approx_percentile takes two arguments") };
        // Evaluated on nothing: a constant is one whatever the rows are.
        let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let Ok(ColumnarValue::Scalar(percentile)) = percentile.evaluate(&nothing) else {
            return plan_err!("approx_percentile: the percentile must be a constant");
        };
        let (percentiles, is_list) = match &percentile {
            ScalarValue::Float64(Some(one)) => (vec![*one], false),
            ScalarValue::List(list) if list.len() == 1 && list.null_count() == 0 => {
                (list.value(0).as_primitive::<Float64Type>().iter().flatten().collect(), true)
            }
            _ => return plan_err!("approx_percentile: the percentile must be a constant and not null"),
        };
        if percentiles.iter().any(|percentile| !(0.0..=1.0).contains(percentile)) {
            return exec_err!("Percentile must be between 0 and 1");
        }
        let kind = value.data_type(args.schema)?;
        let digest = ApproxPercentileAccumulator::new(0.5, DataType::Float64);
        Ok(Box::new(Percentiles { digest, percentiles, is_list, kind }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = |part: &str| format!("{}[{part}]", args.name);
        let centroids = Field::new_list_field(DataType::Float64, true);
        Ok(vec![
            Arc::new(Field::new(name("max_size"), DataType::UInt64, false)),
            Arc::new(Field::new(name("sum"), DataType::Float64, false)),
            Arc::new(Field::new(name("count"), DataType::Float64, false)),
            Arc::new(Field::new(name("max"), DataType::Float64, false)),
            Arc::new(Field::new(name("min"), DataType::Float64, false)),
            Arc::new(Field::new_list(name("centroids"), centroids, false)),
        ])
    }
}

#[derive(Debug)]
struct Percentiles {
    digest: ApproxPercentileAccumulator,
    percentiles: Vec<f64>,
    is_list: bool,
    kind: DataType,
}

impl Percentiles {
    /// Each percentile of the digest, in the type of the values: whole numbers are rounded.
    fn values(&mut self) -> Result<ArrayRef> {
        let state: Vec<ArrayRef> = self.digest.state()?.iter().map(ScalarValue::to_array).collect::<Result<_>>()?;
        let mut found = Vec::with_capacity(self.percentiles.len());
        for percentile in &self.percentiles {
            let mut one = ApproxPercentileAccumulator::new(*percentile, DataType::Float64);
            one.merge_batch(&state)?;
            let ScalarValue::Float64(value) = one.evaluate()? else {
                return exec_err!("a percentile is not a double");
            };
            found.push(value.map(|value| if self.kind.is_integer() { value.round() } else { value }));
        }
        let found: arrow::array::Float64Array = found.into_iter().collect();
        Ok(cast(&found, &self.kind)?)
    }
}

impl Accumulator for Percentiles {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let [values, ..] = columns else { return plan_err!("a column is expected") };
        self.digest.update_batch(&[cast(values, &DataType::Float64)?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let is_empty =
            matches!(self.digest.state()?.get(COUNT), Some(ScalarValue::Float64(Some(count))) if *count < 1.0);
        match (is_empty, self.is_list) {
            (true, false) => ScalarValue::try_from(&self.kind),
            (true, true) => {
                ScalarValue::try_from(&DataType::List(Arc::new(Field::new_list_field(self.kind.clone(), true))))
            }
            (false, false) => ScalarValue::try_from_array(&self.values()?, 0),
            (false, true) => {
                Ok(ScalarValue::List(Arc::new(SingleRowListArrayBuilder::new(self.values()?).build_list_array())))
            }
        }
    }

    fn size(&self) -> usize {
        self.digest.size() + self.percentiles.len() * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.digest.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.digest.merge_batch(states)
    }
}
