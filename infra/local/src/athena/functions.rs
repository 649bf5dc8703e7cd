//! Functions of Trino that `DataFusion` lacks, or has with another meaning. Their tests hold Trino's documented values.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{exec_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::prelude::SessionContext;

use super::zoned;

mod arrays;
mod best_by;
mod bytes;
mod calendar;
mod decimals;
mod fields;
mod instants;
mod json;
mod numbers;
mod patterns;
mod percentile;
mod strings;

#[cfg(test)]
mod tests;

pub(super) use decimals::{divide, is_decimal_like};
pub(super) use patterns::cast_timestamp;

/// Makes the functions known to a session, in the place of those that have the same names.
pub(super) fn register(context: &SessionContext) {
    let families = [
        fields::functions(),
        calendar::functions(),
        instants::functions(),
        patterns::functions(),
        strings::functions(),
        bytes::functions(),
        json::functions(),
        arrays::functions(),
        numbers::functions(),
    ];
    for function in families.into_iter().flatten() {
        context.register_udf(function.into_udf());
    }
    for aggregate in [best_by::max_by(), best_by::min_by(), percentile::approx_percentile()] {
        context.register_udaf(aggregate);
    }
}

type Takes = fn(&[DataType]) -> Result<Vec<DataType>>;
type Gives = fn(&[DataType]) -> Result<DataType>;
type Body = fn(&[ArrayRef], &ScalarFunctionArgs) -> Result<ArrayRef>;

/// A scalar function: what it takes, what it gives, and how.
#[derive(Debug, Clone)]
struct Function {
    name: &'static str,
    signature: Signature,
    /// From the types given to those that the body wants, or why it cannot be.
    takes: Takes,
    /// From the types wanted to the result's.
    gives: Gives,
    body: Body,
}

impl Function {
    fn new(name: &'static str, takes: Takes, gives: Gives, body: Body) -> Self {
        Self { name, signature: Signature::user_defined(Volatility::Immutable), takes, gives, body }
    }

    fn into_udf(self) -> ScalarUDF {
        ScalarUDF::new_from_impl(self)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        (self.takes)(given)
    }

    fn return_type(&self, taken: &[DataType]) -> Result<DataType> {
        (self.gives)(taken)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns: Vec<ArrayRef> =
            args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<Result<_>>()?;
        Ok(ColumnarValue::Array((self.body)(&columns, &args)?))
    }
}

/// One argument of a body: the types were checked when the query was planned.
fn argument(columns: &[ArrayRef], place: usize) -> Result<&ArrayRef> {
    columns.get(place).ok_or_else(|| exec_datafusion_err!("argument {} is missing", place + 1))
}

/// The type of a moment that calendar functions take; text must be cast, as in Trino.
fn moment(name: &str, kind: &DataType) -> Result<DataType> {
    match kind {
        DataType::Null => Ok(zoned::TIMESTAMP_MS),
        DataType::Date32 | DataType::Timestamp(..) => Ok(kind.clone()),
        kind if zoned::is_zoned(kind) => Ok(kind.clone()),
        other => plan_err!("Unexpected parameters ({other}) for function {name}: a date or timestamp is expected"),
    }
}

/// Text in any of Arrow's forms becomes the plain one; null is a text.
fn text(name: &str, kind: &DataType) -> Result<DataType> {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Ok(DataType::Utf8),
        other => plan_err!("Unexpected parameters ({other}) for function {name}: varchar is expected"),
    }
}

fn integer(name: &str, kind: &DataType) -> Result<DataType> {
    if kind.is_integer() || *kind == DataType::Null {
        Ok(DataType::Int64)
    } else {
        plan_err!("Unexpected parameters ({kind}) for function {name}: an integer is expected")
    }
}

fn wrong_count<T>(name: &str, given: &[DataType]) -> Result<T> {
    let given: Vec<String> = given.iter().map(ToString::to_string).collect();
    plan_err!("Unexpected parameters ({}) for function {name}", given.join(", "))
}

/// Runs another scalar function of the engine on columns.
fn delegate(inner: &Arc<ScalarUDF>, columns: Vec<ColumnarValue>, args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let fields = columns
        .iter()
        .map(|column| Arc::new(arrow::datatypes::Field::new("argument", column.data_type(), true)))
        .collect();
    let rows = args.number_rows;
    let inner_args = ScalarFunctionArgs {
        args: columns,
        arg_fields: fields,
        number_rows: rows,
        return_field: Arc::clone(&args.return_field),
        config_options: Arc::clone(&args.config_options),
    };
    inner.invoke_with_args(inner_args)?.into_array(rows)
}
