//! Trino's syntax and names, rewritten on the parsed statement into what `DataFusion` plans with the same meaning.
//!
//! What needs the types of its operands is not here but in `semantics`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, DateTimeField, ExactNumberInfo, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, NullTreatment, ObjectName, Query, SelectItem,
    SetExpr, Value, ValueWithSpan, visit_expressions_mut,
};

use super::QueryError;

pub(super) fn rewrite(query: &mut Query) -> Result<(), QueryError> {
    name_columns(&mut query.body);
    match visit_expressions_mut(query, |expr| match expression(expr) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Columns without a name are `_col0`, `_col1`, … as in Athena.
fn name_columns(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            for (place, item) in select.projection.iter_mut().enumerate() {
                let unnamed = match item {
                    SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => false,
                    SelectItem::UnnamedExpr(_) => true,
                    _ => false,
                };
                if unnamed && let SelectItem::UnnamedExpr(expr) = item.clone() {
                    *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', format!("_col{place}")) };
                }
            }
        }
        SetExpr::SetOperation { left, .. } => name_columns(left),
        SetExpr::Query(query) => name_columns(&mut query.body),
        SetExpr::Values(_)
        | SetExpr::Insert(_)
        | SetExpr::Update(_)
        | SetExpr::Delete(_)
        | SetExpr::Merge(_)
        | SetExpr::Table(_) => {}
    }
}

/// One expression, after those within it.
fn expression(expr: &mut Expr) -> Result<(), QueryError> {
    let replaced = match expr {
        Expr::Function(function) => named_function(function)?,
        Expr::AtTimeZone { timestamp, time_zone } => {
            Some(call("at_timezone", vec![(**timestamp).clone(), (**time_zone).clone()]))
        }
        Expr::Extract { field, expr, .. } => Some(call(extracted(field)?, vec![(**expr).clone()])),
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            let start = substring_from.as_deref().cloned().unwrap_or_else(|| number("1"));
            let mut args = vec![(**expr).clone(), start];
            args.extend(substring_for.as_deref().cloned());
            Some(call("substr", args))
        }
        Expr::Cast { kind: CastKind::Cast | CastKind::TryCast, data_type, .. } => bounded_varchar(data_type)
            .map(|length| call("substr", vec![expr.clone(), number("1"), number(&length.to_string())])),
        Expr::Like { pattern, escape_char, .. } => {
            escape_with_backslash(pattern, escape_char)?;
            None
        }
        // 1e0 is a double in Trino, and 1.0 a decimal.
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) if digits.contains(['e', 'E']) => Some(cast(
                Expr::value(Value::SingleQuotedString(digits.clone())),
                DataType::Double(ExactNumberInfo::None),
            )),
            _ => None,
        },
        _ => None,
    };
    if let Some(replacement) = replaced {
        *expr = replacement;
    }
    Ok(())
}

/// Writes a pattern anew with the engine's escape, which is a backslash and cannot be switched off.
///
/// Without ESCAPE, a backslash is a plain character in Trino.
fn escape_with_backslash(pattern: &mut Expr, escape: &mut Option<ValueWithSpan>) -> Result<(), QueryError> {
    let escape = escape.take().map(|escape| escape.value);
    let escape = match escape.as_ref() {
        None => None,
        Some(Value::SingleQuotedString(text)) if text.chars().count() == 1 => text.chars().next(),
        Some(_) => {
            return Err(QueryError::user("INVALID_FUNCTION_ARGUMENT", "Escape string must be a single character"));
        }
    };
    match pattern {
        Expr::Value(value) => {
            if let Value::SingleQuotedString(text) = &mut value.value {
                *text = escaped(text, escape)?;
            }
            Ok(())
        }
        other if escape.is_none() => {
            let text = |text: &str| Expr::value(Value::SingleQuotedString(text.to_owned()));
            *other = call("replace", vec![other.clone(), text("\\"), text("\\\\")]);
            Ok(())
        }
        _ => {
            let message = "LIKE with ESCAPE and a pattern that is not a constant is not supported by the local Athena";
            Err(QueryError::user("NOT_SUPPORTED", message))
        }
    }
}

fn escaped(pattern: &str, escape: Option<char>) -> Result<String, QueryError> {
    let mut written = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(next) = characters.next() {
        let (character, is_escaped) = if Some(next) == escape {
            match characters.next() {
                Some(character) if matches!(character, '%' | '_') || Some(character) == escape => (character, true),
                _ => {
                    let message = "Escape character must be followed by '%', '_' or the escape character itself";
                    return Err(QueryError::user("INVALID_FUNCTION_ARGUMENT", message));
                }
            }
        } else {
            (next, false)
        };
        if character == '\\' || is_escaped && matches!(character, '%' | '_') {
            written.push('\\');
        }
        written.push(character);
    }
    Ok(written)
}

/// The length of `varchar(n)`, which cuts; the type is left without it.
fn bounded_varchar(kind: &mut DataType) -> Option<u64> {
    use datafusion::sql::sqlparser::ast::CharacterLength;
    match kind {
        DataType::Varchar(Some(CharacterLength::IntegerLength { length, .. })) => {
            let length = *length;
            *kind = DataType::Varchar(None);
            Some(length)
        }
        _ => None,
    }
}

fn named_function(function: &mut Function) -> Result<Option<Expr>, QueryError> {
    let name = function.name.to_string().to_lowercase();
    let args = plain_args(function);
    let rename = |function: &mut Function, name: &str| function.name = ObjectName::from(vec![Ident::new(name)]);
    match (name.as_str(), args.as_deref()) {
        ("if", Some([condition, then])) => Ok(Some(case(condition.clone(), then.clone(), None))),
        ("if", Some([condition, then, otherwise])) => {
            Ok(Some(case(condition.clone(), then.clone(), Some(otherwise.clone()))))
        }
        ("count_if", Some([condition])) => {
            let counted = case(condition.clone(), number("1"), None);
            rename(function, "count");
            set_args(function, vec![counted]);
            Ok(None)
        }
        ("arbitrary" | "any_value", Some([_])) => {
            rename(function, "first_value");
            function.null_treatment = Some(NullTreatment::IgnoreNulls);
            Ok(None)
        }
        // Null makes null in Trino, and is passed over here.
        ("greatest" | "least", Some(values)) if values.len() > 1 => {
            let null = values.iter().cloned().map(|value| Expr::IsNull(Box::new(value))).reduce(or);
            let Some(null) = null else { return Ok(None) };
            Ok(Some(case(
                Expr::Nested(Box::new(null)),
                Expr::value(Value::Null),
                Some(Expr::Function(function.clone())),
            )))
        }
        // All matches are replaced in Trino; groups are $1 in both.
        ("regexp_replace", Some([text, pattern])) => {
            let nothing = Expr::value(Value::SingleQuotedString(String::new()));
            let all = Expr::value(Value::SingleQuotedString("g".to_owned()));
            Ok(Some(call("regexp_replace", vec![text.clone(), pattern.clone(), nothing, all])))
        }
        ("regexp_replace", Some([text, pattern, replacement])) => {
            let all = Expr::value(Value::SingleQuotedString("g".to_owned()));
            let replacement = java_replacement(replacement)?;
            Ok(Some(call("regexp_replace", vec![text.clone(), pattern.clone(), replacement, all])))
        }
        ("mod", Some([dividend, divisor])) => Ok(Some(Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(dividend.clone()))),
            op: BinaryOperator::Modulo,
            right: Box::new(Expr::Nested(Box::new(divisor.clone()))),
        })),
        ("date", Some([value])) => Ok(Some(cast(value.clone(), DataType::Date))),
        ("contains", Some([_, _])) => renamed(function, "array_has"),
        ("every", _) => renamed(function, "bool_and"),
        ("variance", _) => renamed(function, "var_samp"),
        ("length", Some([_])) => renamed(function, "character_length"),
        ("unnest", _) => Err(QueryError::user("NOT_SUPPORTED", "UNNEST stands in FROM, not in an expression")),
        _ => Ok(None),
    }
}

fn renamed(function: &mut Function, name: &str) -> Result<Option<Expr>, QueryError> {
    function.name = ObjectName::from(vec![Ident::new(name)]);
    Ok(None)
}

/// `$1` before a letter or digit would name another group: it is braced.
fn java_replacement(replacement: &Expr) -> Result<Expr, QueryError> {
    let text = match replacement {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text,
            _ => return Ok(replacement.clone()),
        },
        _ => {
            let message =
                "regexp_replace with a replacement that is not a constant is not supported by the local Athena";
            return Err(QueryError::user("NOT_SUPPORTED", message));
        }
    };
    let mut braced = String::new();
    let mut characters = text.chars().peekable();
    while let Some(next) = characters.next() {
        match (next, characters.peek()) {
            ('$', Some(digit)) if digit.is_ascii_digit() => {
                braced.push_str("${");
                while let Some(digit) = characters.next_if(char::is_ascii_digit) {
                    braced.push(digit);
                }
                braced.push('}');
            }
            ('\\', Some('$')) => {
                characters.next();
                braced.push_str("$$");
            }
            _ => braced.push(next),
        }
    }
    Ok(Expr::value(Value::SingleQuotedString(braced)))
}

fn extracted(field: &DateTimeField) -> Result<&'static str, QueryError> {
    Ok(match field {
        DateTimeField::Year => "year",
        DateTimeField::Quarter => "quarter",
        DateTimeField::Month => "month",
        DateTimeField::Week(None) => "week",
        DateTimeField::Day => "day",
        DateTimeField::Dow | DateTimeField::DayOfWeek => "day_of_week",
        DateTimeField::Doy | DateTimeField::DayOfYear => "day_of_year",
        DateTimeField::Hour => "hour",
        DateTimeField::Minute => "minute",
        DateTimeField::Second => "second",
        other => {
            let message = format!("EXTRACT({other} FROM …) is not supported by the local Athena");
            return Err(QueryError::user("NOT_SUPPORTED", &message));
        }
    })
}

/// The arguments, when they are plain expressions.
fn plain_args(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let plain = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().map(plain).collect()
}

fn set_args(function: &mut Function, args: Vec<Expr>) {
    if let FunctionArguments::List(list) = &mut function.args {
        list.args = unnamed(args);
    }
}

fn unnamed(args: Vec<Expr>) -> Vec<FunctionArg> {
    args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect()
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let list = FunctionArgumentList { duplicate_treatment: None, args: unnamed(args), clauses: Vec::new() };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn case(condition: Expr, result: Expr, otherwise: Option<Expr>) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: otherwise.map(Box::new),
    }
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

fn or(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::Or, right: Box::new(right) }
}

fn number(digits: &str) -> Expr {
    Expr::value(Value::Number(digits.to_owned(), false))
}
