//! Rounding and the functions of analysis: `round`, `floor`, `ceil`, `truncate`, `abs`, `sign`, `sqrt`, `power`, `ln`, …
//!
//! Of whole numbers the result is a whole number; of a decimal, a decimal for `round` and `abs`, else a double.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use datafusion::common::{exec_datafusion_err, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::ScalarFunctionArgs;

use super::{Function, argument, integer, wrong_count};

macro_rules! of_double {
    ($name:literal, $body:expr) => {
        Function::new(
            $name,
            takes_double,
            |_| Ok(DataType::Float64),
            |columns, _| {
                let values = argument(columns, 0)?.as_primitive::<Float64Type>();
                Ok(Arc::new(values.unary::<_, Float64Type>($body)))
            },
        )
    };
}

macro_rules! whole_stays {
    ($name:literal, $body:expr) => {
        Function::new($name, takes_whole_or_double, first, |columns, _| {
            let values = argument(columns, 0)?;
            if values.data_type().is_integer() {
                return Ok(Arc::clone(values));
            }
            let values = values.as_primitive::<Float64Type>();
            Ok(Arc::new(values.unary::<_, Float64Type>($body)))
        })
    };
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("round", takes_round, gives_round, round),
        Function::new("abs", takes_signed, first, abs),
        Function::new("sign", takes_whole_or_double, first, sign),
        whole_stays!("floor", f64::floor),
        whole_stays!("ceil", f64::ceil),
        whole_stays!("ceiling", f64::ceil),
        whole_stays!("truncate", f64::trunc),
        of_double!("sqrt", f64::sqrt),
        of_double!("cbrt", f64::cbrt),
        of_double!("exp", f64::exp),
        of_double!("ln", f64::ln),
        of_double!("log2", f64::log2),
        of_double!("log10", f64::log10),
        Function::new("power", takes_power, |_| Ok(DataType::Float64), power),
        Function::new("pow", takes_power, |_| Ok(DataType::Float64), power),
    ]
}

fn first(taken: &[DataType]) -> Result<DataType> {
    taken.first().cloned().ok_or_else(|| exec_datafusion_err!("an argument is expected"))
}

/// A decimal may grow by a digit; without a number of places it loses its fraction.
fn gives_round(taken: &[DataType]) -> Result<DataType> {
    Ok(match taken {
        [DataType::Decimal128(precision, scale)] => {
            let whole = i16::from(*precision) - i16::from(*scale) + i16::from(*scale > 0);
            DataType::Decimal128(u8::try_from(whole.clamp(1, 38)).unwrap_or(38), 0)
        }
        [DataType::Decimal128(precision, scale), _] => DataType::Decimal128((precision + 1).min(38), *scale),
        taken => first(taken)?,
    })
}

fn double(kind: &DataType) -> Result<DataType> {
    if kind.is_numeric() || *kind == DataType::Null {
        Ok(DataType::Float64)
    } else {
        plan_err!("Unexpected parameters ({kind}) for a function of numbers")
    }
}

fn takes_double(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [one] => Ok(vec![double(one)?]),
        given => wrong_count("of one number", given),
    }
}

fn takes_power(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [base, exponent] => Ok(vec![double(base)?, double(exponent)?]),
        given => wrong_count("power", given),
    }
}

fn takes_whole_or_double(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [one] if one.is_integer() => Ok(vec![one.clone()]),
        // A decimal would be a decimal of another precision in Trino; as a double its digits would differ.
        [DataType::Decimal128(..)] => {
            plan_err!(
                "floor, ceil, truncate and sign of a decimal are not supported by the local Athena; cast to double"
            )
        }
        given => takes_double(given),
    }
}

fn takes_signed(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [one] if one.is_integer() => Ok(vec![DataType::Int64]),
        [one @ DataType::Decimal128(..)] => Ok(vec![one.clone()]),
        given => takes_double(given),
    }
}

fn takes_round(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [value] => takes_signed(std::slice::from_ref(value)),
        [value, places] => {
            let mut taken = takes_signed(std::slice::from_ref(value))?;
            taken.push(integer("round", places)?);
            Ok(taken)
        }
        given => wrong_count("round", given),
    }
}

fn power(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (bases, exponents) =
        (argument(columns, 0)?.as_primitive::<Float64Type>(), argument(columns, 1)?.as_primitive::<Float64Type>());
    Ok(Arc::new(arrow::compute::binary::<_, _, _, Float64Type>(bases, exponents, f64::powf)?))
}

fn sign(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let values = argument(columns, 0)?;
    if values.data_type().is_integer() {
        let signs = cast(values, &DataType::Int64)?.as_primitive::<Int64Type>().unary::<_, Int64Type>(i64::signum);
        return Ok(cast(&signs, values.data_type())?);
    }
    let sign = |value: f64| if value == 0.0 || value.is_nan() { value } else { value.signum() };
    Ok(Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(sign)))
}

fn abs(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let values = argument(columns, 0)?;
    Ok(match values.data_type() {
        DataType::Int64 => {
            let values = values.as_primitive::<Int64Type>();
            let absolute = |value: i64| value.checked_abs().ok_or_else(|| out_of_range("abs"));
            Arc::new(values.try_unary::<_, Int64Type, _>(absolute)?)
        }
        DataType::Decimal128(precision, scale) => {
            let absolute: Decimal128Array = values.as_primitive::<Decimal128Type>().unary(i128::abs);
            Arc::new(absolute.with_precision_and_scale(*precision, *scale)?)
        }
        _ => Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::abs)),
    })
}

/// Half away from zero, to a number of places behind the point, or before it when negative.
fn round(columns: &[ArrayRef], args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let values = argument(columns, 0)?;
    let places = columns.get(1).map(|places| places.as_primitive::<Int64Type>());
    let places = (0..args.number_rows).map(|row| match places {
        Some(places) if arrow::array::Array::is_null(places, row) => None,
        Some(places) => Some(places.value(row)),
        None => Some(0),
    });
    match values.data_type() {
        DataType::Int64 => {
            let rounded = values.as_primitive::<Int64Type>().iter().zip(places).map(|pair| match pair {
                (Some(value), Some(places)) => {
                    let rounded = i64::try_from(round_units(value.into(), places, 0)?);
                    rounded.map(Some).map_err(|_too_large| out_of_range("round"))
                }
                (None, _) | (_, None) => Ok(None),
            });
            Ok(Arc::new(rounded.collect::<Result<arrow::array::Int64Array>>()?))
        }
        DataType::Decimal128(_, scale) => {
            let DataType::Decimal128(precision, result_scale) = *args.return_field.data_type() else {
                return exec_err!("a rounded decimal is a decimal");
            };
            let rounded = values.as_primitive::<Decimal128Type>().iter().zip(places).map(|pair| match pair {
                (Some(value), Some(places)) => round_units(value, places, i64::from(*scale)).map(Some),
                (None, _) | (_, None) => Ok(None),
            });
            let rounded = rounded.collect::<Result<Decimal128Array>>()?.with_precision_and_scale(38, *scale)?;
            let rounded = cast(&rounded, &DataType::Decimal128(38, result_scale))?;
            let rounded: Decimal128Array = rounded.as_primitive::<Decimal128Type>().clone();
            rounded.validate_decimal_precision(precision).map_err(|_too_large| out_of_range("round"))?;
            Ok(Arc::new(rounded.with_precision_and_scale(precision, result_scale)?))
        }
        DataType::Float64 => {
            let rounded = values.as_primitive::<Float64Type>().iter().zip(places).map(|pair| match pair {
                (Some(value), Some(places)) => Some(round_double(value, places)),
                (None, _) | (_, None) => None,
            });
            Ok(Arc::new(rounded.collect::<arrow::array::Float64Array>()))
        }
        other => exec_err!("round of {other}"),
    }
}

/// Rounds a number of units of 10^-scale.
fn round_units(value: i128, places: i64, scale: i64) -> Result<i128> {
    let drop = scale - places;
    if drop <= 0 {
        return Ok(value);
    }
    // More digits than there are leave nothing.
    let Some(unit) = u32::try_from(drop).ok().and_then(|drop| 10_i128.checked_pow(drop)) else { return Ok(0) };
    let (quotient, rest) = (value / unit, value % unit);
    let quotient = if rest.unsigned_abs() * 2 >= unit.unsigned_abs() { quotient + value.signum() } else { quotient };
    quotient.checked_mul(unit).ok_or_else(|| out_of_range("round"))
}

fn round_double(value: f64, places: i64) -> f64 {
    let Ok(places) = i32::try_from(places) else { return value };
    let factor = 10_f64.powi(places);
    let scaled = (value * factor).round();
    if scaled.is_finite() && factor.is_normal() { scaled / factor } else { value }
}

fn out_of_range(name: &str) -> datafusion::common::DataFusionError {
    exec_datafusion_err!("NUMERIC_VALUE_OUT_OF_RANGE: the result of {name} is out of range")
}
