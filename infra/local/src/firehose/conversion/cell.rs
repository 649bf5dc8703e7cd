//! Cells of rows, and columns made of them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListArray, MapArray, StringBuilder, StructArray, TimestampMillisecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields};
use arrow::error::ArrowError;

/// A value that fits the type of its column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    /// Without its point.
    Decimal(i128),
    Text(String),
    Bytes(Vec<u8>),
    /// Days since the epoch.
    Date(i32),
    /// Milliseconds since the epoch.
    Timestamp(i64),
    List(Vec<Cell>),
    Struct(Vec<Cell>),
    Map(Vec<(Cell, Cell)>),
}

static NULL: Cell = Cell::Null;

/// A column of this type. Cells of another are null: rows were read by the same types.
pub(super) fn array(kind: &DataType, cells: &[&Cell]) -> Result<ArrayRef, ArrowError> {
    let whole = |cell: &&Cell| match cell {
        Cell::Integer(number) => Some(*number),
        _ => None,
    };
    let float = |cell: &&Cell| match cell {
        Cell::Float(number) => Some(*number),
        _ => None,
    };
    Ok(match kind {
        DataType::Boolean => Arc::new(BooleanArray::from_iter(cells.iter().map(|cell| match cell {
            Cell::Boolean(value) => Some(*value),
            _ => None,
        }))),
        DataType::Int8 => narrow(cells, |cell| i8::try_from(whole(cell)?).ok(), Int8Array::from_iter),
        DataType::Int16 => narrow(cells, |cell| i16::try_from(whole(cell)?).ok(), Int16Array::from_iter),
        DataType::Int32 => narrow(cells, |cell| i32::try_from(whole(cell)?).ok(), Int32Array::from_iter),
        DataType::Int64 => narrow(cells, whole, Int64Array::from_iter),
        #[expect(clippy::cast_possible_truncation, reason = "a float column keeps a double's first digits")]
        DataType::Float32 => narrow(cells, |cell| Some(float(cell)? as f32), Float32Array::from_iter),
        DataType::Float64 => narrow(cells, float, Float64Array::from_iter),
        DataType::Decimal128(precision, scale) => {
            let numbers = cells.iter().map(|cell| match cell {
                Cell::Decimal(number) => Some(*number),
                _ => None,
            });
            Arc::new(Decimal128Array::from_iter(numbers).with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Date32 => Arc::new(Date32Array::from_iter(cells.iter().map(|cell| match cell {
            Cell::Date(days) => Some(*days),
            _ => None,
        }))),
        DataType::Timestamp(..) => {
            Arc::new(TimestampMillisecondArray::from_iter(cells.iter().map(|cell| match cell {
                Cell::Timestamp(millis) => Some(*millis),
                _ => None,
            })))
        }
        DataType::Binary => binary(cells),
        DataType::List(item) => list(item, cells)?,
        DataType::Map(entries, is_sorted) => map(entries, *is_sorted, cells)?,
        DataType::Struct(fields) => structure(fields, cells)?,
        _ => text(cells),
    })
}

fn narrow<T, A: arrow::array::Array + 'static>(
    cells: &[&Cell],
    value: impl Fn(&&Cell) -> Option<T>,
    collect: impl FnOnce(Vec<Option<T>>) -> A,
) -> ArrayRef {
    Arc::new(collect(cells.iter().map(value).collect()))
}

fn text(cells: &[&Cell]) -> ArrayRef {
    let mut builder = StringBuilder::new();
    for cell in cells {
        match cell {
            Cell::Text(text) => builder.append_value(text),
            _ => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

fn binary(cells: &[&Cell]) -> ArrayRef {
    let mut builder = BinaryBuilder::new();
    for cell in cells {
        match cell {
            Cell::Bytes(bytes) => builder.append_value(bytes),
            _ => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

fn list(item: &FieldRef, cells: &[&Cell]) -> Result<ArrayRef, ArrowError> {
    let items = |cell: &&Cell| match cell {
        Cell::List(items) => Some(items.len()),
        _ => None,
    };
    let all: Vec<&Cell> =
        cells.iter().flat_map(|cell| if let Cell::List(items) = cell { items.as_slice() } else { &[] }).collect();
    let offsets = OffsetBuffer::from_lengths(cells.iter().map(|cell| items(cell).unwrap_or(0)));
    let values = array(item.data_type(), &all)?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, Some(validity(cells)))?))
}

fn map(entries: &FieldRef, is_sorted: bool, cells: &[&Cell]) -> Result<ArrayRef, ArrowError> {
    let pairs = |cell: &&Cell| match cell {
        Cell::Map(pairs) => Some(pairs.len()),
        _ => None,
    };
    let all: Vec<&(Cell, Cell)> =
        cells.iter().flat_map(|cell| if let Cell::Map(pairs) = cell { pairs.as_slice() } else { &[] }).collect();
    let offsets = OffsetBuffer::from_lengths(cells.iter().map(|cell| pairs(cell).unwrap_or(0)));
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(ArrowError::SchemaError("a map's entries are a struct".to_owned()));
    };
    let columns: [Vec<&Cell>; 2] =
        [all.iter().map(|(key, _)| key).collect(), all.iter().map(|(_, value)| value).collect()];
    let arrays: Result<Vec<_>, _> =
        fields.iter().zip(&columns).map(|(field, column)| array(field.data_type(), column)).collect();
    let pairs = StructArray::try_new(fields.clone(), arrays?, None)?;
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, Some(validity(cells)), is_sorted)?))
}

fn structure(fields: &Fields, cells: &[&Cell]) -> Result<ArrayRef, ArrowError> {
    let mut arrays = Vec::with_capacity(fields.len());
    for (index, field) in fields.iter().enumerate() {
        let column: Vec<&Cell> = cells.iter().map(|cell| member(cell, index)).collect();
        arrays.push(array(field.data_type(), &column)?);
    }
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), arrays, Some(validity(cells)), cells.len())?))
}

fn member(cell: &Cell, index: usize) -> &Cell {
    match cell {
        Cell::Struct(members) => members.get(index).unwrap_or(&NULL),
        _ => &NULL,
    }
}

fn validity(cells: &[&Cell]) -> NullBuffer {
    cells.iter().map(|cell| **cell != Cell::Null).collect::<Vec<bool>>().into()
}
