//! Types by their names in Glue, in Arrow, and as Athena says them of a result.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};

/// How deep a type may nest.
const MAX_DEPTH: usize = 16;

/// Why a column's type cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("type {name:?} is not one that the local Athena reads")]
pub(crate) struct UnknownType {
    name: String,
}

/// Reads a type of Glue, such as `array<struct<id:string,w:int>>`.
///
/// `timestamp` is in milliseconds and without a zone, as Athena's `timestamp(3)`.
pub(crate) fn arrow_type(name: &str) -> Result<DataType, UnknownType> {
    let unknown = || UnknownType { name: name.to_owned() };
    let lower = name.to_ascii_lowercase();
    let mut rest = lower.as_str();
    let found = read(&mut rest, 0).ok_or_else(unknown)?;
    if rest.trim().is_empty() { Ok(found) } else { Err(unknown()) }
}

fn read(rest: &mut &str, depth: usize) -> Option<DataType> {
    if depth == MAX_DEPTH {
        return None;
    }
    *rest = rest.trim_start();
    let end = rest.find(|next: char| !(next.is_ascii_alphanumeric() || next == '_')).unwrap_or(rest.len());
    let (word, behind) = rest.split_at_checked(end)?;
    *rest = behind;
    Some(match word {
        "string" => DataType::Utf8,
        "varchar" | "char" => {
            arguments(rest)?;
            DataType::Utf8
        }
        "boolean" => DataType::Boolean,
        "tinyint" => DataType::Int8,
        "smallint" => DataType::Int16,
        "int" | "integer" => DataType::Int32,
        "bigint" => DataType::Int64,
        "float" | "real" => DataType::Float32,
        "double" => DataType::Float64,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Millisecond, None),
        "binary" => DataType::Binary,
        "decimal" => match arguments(rest)?.as_slice() {
            [] => DataType::Decimal128(10, 0),
            [precision @ 1..=38] => DataType::Decimal128(*precision, 0),
            [precision @ 1..=38, scale] if scale <= precision => {
                DataType::Decimal128(*precision, i8::try_from(*scale).ok()?)
            }
            _ => return None,
        },
        "array" => {
            expect(rest, '<')?;
            let item = read(rest, depth + 1)?;
            expect(rest, '>')?;
            DataType::List(Arc::new(Field::new_list_field(item, true)))
        }
        "map" => {
            expect(rest, '<')?;
            let key = read(rest, depth + 1)?;
            expect(rest, ',')?;
            let value = read(rest, depth + 1)?;
            expect(rest, '>')?;
            let entries = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
        }
        "struct" => DataType::Struct(members(rest, depth)?),
        _ => return None,
    })
}

fn members(rest: &mut &str, depth: usize) -> Option<Fields> {
    expect(rest, '<')?;
    let mut fields = Vec::new();
    loop {
        let (name, behind) = rest.split_once(':')?;
        *rest = behind;
        fields.push(Field::new(name.trim(), read(rest, depth + 1)?, true));
        if expect(rest, ',').is_none() {
            expect(rest, '>')?;
            return Some(fields.into());
        }
    }
}

/// The numbers in parentheses, if there are any.
fn arguments(rest: &mut &str) -> Option<Vec<u8>> {
    let Some(inside) = rest.trim_start().strip_prefix('(') else { return Some(Vec::new()) };
    let (numbers, behind) = inside.split_once(')')?;
    *rest = behind;
    numbers.split(',').map(|number| number.trim().parse().ok()).collect()
}

fn expect(rest: &mut &str, wanted: char) -> Option<()> {
    *rest = rest.trim_start().strip_prefix(wanted)?;
    Some(())
}

/// What Athena calls a type in `ResultSetMetadata`.
pub(super) fn athena_type(kind: &DataType) -> &'static str {
    match kind {
        DataType::Null => "unknown",
        DataType::Boolean => "boolean",
        DataType::Int8 => "tinyint",
        DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "bigint",
        DataType::Float16 | DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            "decimal"
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "varchar",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "varbinary",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Duration(_) | DataType::Interval(IntervalUnit::DayTime | IntervalUnit::MonthDayNano) => {
            "interval day to second"
        }
        DataType::Interval(IntervalUnit::YearMonth) => "interval year to month",
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::FixedSizeList(..) => "array",
        DataType::Map(..) => "map",
        DataType::Struct(_) if super::zoned::is_zoned(kind) => "timestamp with time zone",
        DataType::Struct(_) | DataType::Union(..) => "row",
        DataType::Dictionary(_, value) => athena_type(value),
        DataType::RunEndEncoded(_, value) => athena_type(value.data_type()),
    }
}

#[cfg(test)]
mod tests {
    use super::{arrow_type, athena_type};

    #[test]
    fn types_are_read_and_said() {
        let check = |glue: &str, athena: &str| {
            let found = arrow_type(glue).map(|kind| athena_type(&kind));
            assert_eq!(found.unwrap_or("none"), athena, "{glue}");
        };
        check("string", "varchar");
        check("VARCHAR(20)", "varchar");
        check("int", "integer");
        check("smallint", "smallint");
        check("bigint", "bigint");
        check("float", "float");
        check("double", "double");
        check("boolean", "boolean");
        check("timestamp", "timestamp");
        check("date", "date");
        check("decimal(18, 6)", "decimal");
        check("decimal", "decimal");
        check("binary", "varbinary");
        check("array<array<string>>", "array");
        check("map<string,array<int>>", "map");
        check("struct<a:int, b:struct<c:decimal(3,1)>>", "row");
        check("uniontype<int>", "none");
        check("decimal(39,1)", "none");
        check("array<int", "none");
        check("int int", "none");
        check(&"array<".repeat(40), "none");
        assert_eq!(arrow_type("decimal(18,6)").unwrap().to_string(), "Decimal128(18, 6)");
        assert_eq!(arrow_type("struct<a:int>").unwrap().to_string(), "Struct(\"a\": Int32)");
    }
}
