//! Division of decimals: Trino's scale and rounding, where `DataFusion` keeps other digits.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type};
use datafusion::common::{exec_datafusion_err, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ScalarFunctionArgs, ScalarUDF};

use super::{Function, argument, wrong_count};

/// The most digits of a decimal.
const MAX_PRECISION: u8 = 38;

/// `a / b` where both are decimals or integers, and one at least is a decimal.
pub(in crate::athena) fn divide() -> ScalarUDF {
    Function::new("decimal_divide", takes, gives, body).into_udf()
}

/// Whether a number takes part in the arithmetic of decimals as one.
pub(in crate::athena) fn is_decimal_like(kind: &DataType) -> bool {
    as_decimal(kind).is_some()
}

/// The decimal that a number is in an operation with decimals.
fn as_decimal(kind: &DataType) -> Option<(u8, i8)> {
    match kind {
        DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        DataType::Int8 => Some((3, 0)),
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((19, 0)),
        _ => None,
    }
}

fn takes(given: &[DataType]) -> Result<Vec<DataType>> {
    let decimals: Option<Vec<DataType>> = given
        .iter()
        .map(|kind| as_decimal(kind).map(|(precision, scale)| DataType::Decimal128(precision, scale)))
        .collect();
    decimals.map_or_else(|| wrong_count("/", given), Ok)
}

/// The scale is the larger of the two; the precision grows by what the divisor's scale adds.
fn gives(taken: &[DataType]) -> Result<DataType> {
    match taken {
        [DataType::Decimal128(p1, s1), DataType::Decimal128(_, s2)] => {
            let scale = *s1.max(s2);
            let grown = i16::from(*p1) + i16::from(*s2) + i16::from((*s2 - *s1).max(0));
            let precision = u8::try_from(grown).unwrap_or(MAX_PRECISION).clamp(1, MAX_PRECISION);
            Ok(DataType::Decimal128(precision, scale))
        }
        given => wrong_count("/", given),
    }
}

fn body(columns: &[ArrayRef], args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (dividends, divisors) = (argument(columns, 0)?, argument(columns, 1)?);
    let DataType::Decimal128(precision, scale) = *args.return_field.data_type() else {
        return exec_err!("the quotient of decimals is a decimal");
    };
    let (_, s1) = as_decimal(dividends.data_type()).ok_or_else(|| exec_datafusion_err!("not a decimal"))?;
    let (_, s2) = as_decimal(divisors.data_type()).ok_or_else(|| exec_datafusion_err!("not a decimal"))?;
    let shift = u32::try_from(i16::from(scale) - i16::from(s1) + i16::from(s2)).unwrap_or_default();
    let factor = 10_i128.checked_pow(shift).ok_or_else(overflow)?;
    let (dividends, divisors) = (dividends.as_primitive::<Decimal128Type>(), divisors.as_primitive::<Decimal128Type>());
    let mut quotients = Vec::with_capacity(dividends.len());
    for pair in dividends.iter().zip(divisors.iter()) {
        quotients.push(match pair {
            (Some(_), Some(0)) => return exec_err!("DIVISION_BY_ZERO: Division by zero"),
            (Some(dividend), Some(divisor)) => {
                Some(rounded(dividend.checked_mul(factor).ok_or_else(overflow)?, divisor))
            }
            (None, _) | (_, None) => None,
        });
    }
    let quotients: Decimal128Array = quotients.into_iter().collect();
    let quotients = quotients.with_precision_and_scale(precision, scale)?;
    quotients.validate_decimal_precision(precision).map_err(|_too_large| overflow())?;
    Ok(cast(&(Arc::new(quotients) as ArrayRef), args.return_field.data_type())?)
}

/// Half away from zero.
fn rounded(dividend: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    let away = if (dividend < 0) == (divisor < 0) { 1 } else { -1 };
    if rest.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2) { quotient + away } else { quotient }
}

fn overflow() -> datafusion::common::DataFusionError {
    exec_datafusion_err!("Decimal overflow")
}
