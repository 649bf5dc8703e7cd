//! `element_at`: an item of an array, counted from either end, or the value of a key of a map.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray, Int64Array, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, cast, take};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{exec_datafusion_err, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::ScalarFunctionArgs;

use super::{Function, argument, integer, wrong_count};

pub(super) fn functions() -> Vec<Function> {
    vec![Function::new("element_at", takes, gives, element_at)]
}

fn takes(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [list @ DataType::List(_), place] => Ok(vec![list.clone(), integer("element_at", place)?]),
        [map @ DataType::Map(entries, _), _] => match entries.data_type() {
            DataType::Struct(fields) => {
                let key = fields.first().map(|key| key.data_type().clone()).unwrap_or(DataType::Null);
                Ok(vec![map.clone(), key])
            }
            other => plan_err!("element_at: a map of {other}"),
        },
        [other, _] => {
            plan_err!("Unexpected parameters ({other}) for function element_at: an array or a map is expected")
        }
        given => wrong_count("element_at", given),
    }
}

fn gives(taken: &[DataType]) -> Result<DataType> {
    match taken {
        [DataType::List(item), _] => Ok(item.data_type().clone()),
        [DataType::Map(entries, _), _] => match entries.data_type() {
            DataType::Struct(fields) => {
                Ok(fields.get(1).map(|value| value.data_type().clone()).unwrap_or(DataType::Null))
            }
            other => plan_err!("element_at: a map of {other}"),
        },
        given => wrong_count("element_at", given),
    }
}

fn element_at(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (container, keys) = (argument(columns, 0)?, argument(columns, 1)?);
    match container.data_type() {
        DataType::Map(..) => value_of(container, keys),
        _ => item_of(container, keys.as_primitive::<Int64Type>()),
    }
}

fn item_of(lists: &ArrayRef, places: &Int64Array) -> Result<ArrayRef> {
    let lists = lists.as_list::<i32>();
    let mut chosen = Vec::with_capacity(lists.len());
    for (row, place) in places.iter().enumerate() {
        let Some(place) = place.filter(|_| lists.is_valid(row)) else {
            chosen.push(None);
            continue;
        };
        if place == 0 {
            return exec_err!("SQL array indices start at 1");
        }
        let offsets = lists.value_offsets();
        let (start, end) = (offset(offsets, row)?, offset(offsets, row + 1)?);
        let item = if place > 0 { start + place - 1 } else { end + place };
        chosen.push((start..end).contains(&item).then(|| u32::try_from(item).ok()).flatten());
    }
    Ok(take(lists.values(), &UInt32Array::from(chosen), None)?)
}

fn value_of(maps: &ArrayRef, keys: &ArrayRef) -> Result<ArrayRef> {
    let maps = maps.as_map();
    let keys = cast(keys, maps.keys().data_type())?;
    let order = make_comparator(&Arc::clone(maps.keys()), &keys, SortOptions::default())?;
    let mut chosen = Vec::with_capacity(maps.len());
    for row in 0..maps.len() {
        if maps.is_null(row) || keys.is_null(row) {
            chosen.push(None);
            continue;
        }
        let offsets = maps.value_offsets();
        let (start, end) = (offset(offsets, row)?, offset(offsets, row + 1)?);
        let found = (start..end).find(|entry| usize::try_from(*entry).is_ok_and(|entry| order(entry, row).is_eq()));
        chosen.push(found.and_then(|entry| u32::try_from(entry).ok()));
    }
    Ok(take(maps.values(), &UInt32Array::from(chosen), None)?)
}

fn offset(offsets: &[i32], row: usize) -> Result<i64> {
    offsets.get(row).copied().map(i64::from).ok_or_else(|| exec_datafusion_err!("an array has no row {row}"))
}
