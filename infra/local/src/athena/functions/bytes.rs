//! Between text and bytes: `from_base64`, `to_base64`, `from_utf8`, `to_utf8`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::ScalarFunctionArgs;

use super::{Function, argument, text, wrong_count};

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("from_base64", |given| one(given, "from_base64", text), |_| Ok(DataType::Binary), from_base64),
        Function::new("to_base64", |given| one(given, "to_base64", bytes), |_| Ok(DataType::Utf8), to_base64),
        Function::new("from_utf8", |given| one(given, "from_utf8", bytes), |_| Ok(DataType::Utf8), from_utf8),
        Function::new("to_utf8", |given| one(given, "to_utf8", text), |_| Ok(DataType::Binary), to_utf8),
    ]
}

fn one(given: &[DataType], name: &str, kind: fn(&str, &DataType) -> Result<DataType>) -> Result<Vec<DataType>> {
    let [value] = given else { return wrong_count(name, given) };
    Ok(vec![kind(name, value)?])
}

fn bytes(name: &str, kind: &DataType) -> Result<DataType> {
    match kind {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::Null => Ok(DataType::Binary),
        other => plan_err!("Unexpected parameters ({other}) for function {name}: varbinary is expected"),
    }
}

fn from_base64(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let decoded = argument(columns, 0)?.as_string::<i32>().iter().map(|text| {
        let Some(text) = text else { return Ok(None) };
        match base64_simd::STANDARD.decode_to_vec(text) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(_) => exec_err!("INVALID_FUNCTION_ARGUMENT: from_base64 was given what is no base64"),
        }
    });
    let decoded: Vec<Option<Vec<u8>>> = decoded.collect::<Result<_>>()?;
    Ok(Arc::new(BinaryArray::from_iter(decoded)))
}

fn to_base64(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let encoded = argument(columns, 0)?.as_binary::<i32>().iter();
    let encoded = encoded.map(|bytes| bytes.map(|bytes| base64_simd::STANDARD.encode_to_string(bytes)));
    Ok(Arc::new(encoded.collect::<StringArray>()))
}

/// What is not UTF-8 becomes U+FFFD, as in Trino.
fn from_utf8(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = argument(columns, 0)?.as_binary::<i32>().iter().map(|bytes| bytes.map(String::from_utf8_lossy));
    Ok(Arc::new(texts.collect::<StringArray>()))
}

fn to_utf8(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = argument(columns, 0)?.as_string::<i32>().iter().map(|text| text.map(str::as_bytes));
    Ok(Arc::new(BinaryArray::from_iter(texts)))
}
