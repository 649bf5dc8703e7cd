//! Where `DataFusion` would answer with another meaning than Trino: rewritten by the operands' types, or refused.
//!
//! Runs on the plan before the engine brings types together, so it sees the types that the query's author wrote.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{DFSchema, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable as _, LogicalPlan, Operator, ScalarUDF, TryCast};

use super::functions;
use super::zoned;

/// Functions that the rewriting puts in.
#[derive(Debug)]
struct Replacements {
    divide: Arc<ScalarUDF>,
    to_text: Arc<ScalarUDF>,
}

pub(super) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    let replacements =
        Replacements { divide: Arc::new(functions::divide()), to_text: Arc::new(functions::cast_timestamp()) };
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let schema = match &node {
            LogicalPlan::TableScan(scan) => DFSchema::clone(&scan.projected_schema),
            _ => merge_schema(&node.inputs()),
        };
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr
                .transform_up(|expr| expression(expr, &schema, &replacements))?
                .update_data(|expr| name.restore(expr)))
        })?;
        node.map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(rewritten.data)
}

fn expression(expr: Expr, schema: &DFSchema, replacements: &Replacements) -> Result<Transformed<Expr>> {
    // Expressions whose type cannot be told here (of an outer query's columns) are left as they are.
    let kind = |expr: &Expr| expr.get_type(schema).ok();
    match expr {
        Expr::Cast(Cast { expr: inner, field }) => {
            match converted(&inner, kind(&inner).as_ref(), field.data_type(), replacements) {
                Some(Ok(replaced)) => Ok(Transformed::yes(Expr::Cast(Cast { expr: Box::new(replaced), field }))),
                Some(Err(error)) => Err(error),
                None => Ok(Transformed::no(Expr::Cast(Cast { expr: inner, field }))),
            }
        }
        Expr::TryCast(TryCast { expr: inner, field }) => {
            match converted(&inner, kind(&inner).as_ref(), field.data_type(), replacements) {
                Some(Ok(replaced)) => Ok(Transformed::yes(Expr::TryCast(TryCast { expr: Box::new(replaced), field }))),
                Some(Err(error)) => Err(error),
                None => Ok(Transformed::no(Expr::TryCast(TryCast { expr: inner, field }))),
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (Some(left_kind), Some(right_kind)) = (kind(&left), kind(&right)) else {
                return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            };
            check_operator(op, &left_kind, &right_kind)?;
            if op == Operator::Divide && is_decimal_division(&left_kind, &right_kind) {
                let call = ScalarFunction::new_udf(Arc::clone(&replacements.divide), vec![*left, *right]);
                return Ok(Transformed::yes(Expr::ScalarFunction(call)));
            }
            Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })))
        }
        Expr::InList(list) => {
            for item in &list.list {
                if let (Some(left), Some(right)) = (kind(&list.expr), kind(item)) {
                    check_operator(Operator::Eq, &left, &right)?;
                }
            }
            Ok(Transformed::no(Expr::InList(list)))
        }
        Expr::Between(between) => {
            for bound in [&between.low, &between.high] {
                if let (Some(left), Some(right)) = (kind(&between.expr), kind(bound)) {
                    check_operator(Operator::GtEq, &left, &right)?;
                }
            }
            Ok(Transformed::no(Expr::Between(between)))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// What must be cast in the place of `inner`, for the cast to mean what it means in Trino.
fn converted(
    inner: &Expr,
    from: Option<&DataType>,
    to: &DataType,
    replacements: &Replacements,
) -> Option<Result<Expr>> {
    let from = from?;
    let is_fraction = matches!(from, DataType::Float32 | DataType::Float64);
    if is_fraction && to.is_integer() {
        return Some(Ok(rounded(inner, from)));
    }
    if matches!(from, DataType::Decimal128(_, scale) if *scale > 0) && to.is_integer() {
        // To a decimal without a fraction the engine rounds half away from zero, as Trino does.
        return Some(Ok(datafusion::logical_expr::cast(inner.clone(), DataType::Decimal128(38, 0))));
    }
    if to.is_string() && matches!(from, DataType::Timestamp(..)) || to.is_string() && zoned::is_zoned(from) {
        let call = ScalarFunction::new_udf(Arc::clone(&replacements.to_text), vec![inner.clone()]);
        return Some(Ok(Expr::ScalarFunction(call)));
    }
    if to.is_string() && is_fraction {
        return Some(plan_err!("CAST({from} AS varchar) is not supported by the local Athena: cast to decimal first"));
    }
    if zoned::is_zoned(from) {
        return Some(plan_err!("CAST of at_timezone(…) to {to} is not supported by the local Athena"));
    }
    None
}

/// Half away from zero: `trunc(x + 0.5)` with the sign of `x`, as a cast truncates.
fn rounded(inner: &Expr, kind: &DataType) -> Expr {
    let half = |value: f64| {
        let literal = datafusion::prelude::lit(value);
        datafusion::logical_expr::cast(literal, kind.clone())
    };
    let zero = half(0.0);
    let by = datafusion::logical_expr::when(inner.clone().lt(zero), half(-0.5)).otherwise(half(0.5));
    match by {
        Ok(by) => inner.clone() + by,
        // Only a CASE without a branch fails to be built.
        Err(_no_branch) => inner.clone(),
    }
}

fn is_decimal_division(left: &DataType, right: &DataType) -> bool {
    let decimal = |kind: &DataType| matches!(kind, DataType::Decimal128(..));
    (decimal(left) || decimal(right)) && functions::is_decimal_like(left) && functions::is_decimal_like(right)
}

/// Refuses what Trino refuses and the engine would quietly convert.
fn check_operator(op: Operator, left: &DataType, right: &DataType) -> Result<()> {
    let family = |kind: &DataType| match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some("varchar"),
        DataType::Date32 => Some("date"),
        DataType::Timestamp(..) => Some("timestamp"),
        DataType::Boolean => Some("boolean"),
        kind if kind.is_numeric() => Some("number"),
        _ => None,
    };
    let (Some(one), Some(other)) = (family(left), family(right)) else { return Ok(()) };
    let comparison = op.supports_propagation() || matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom);
    let dates = matches!((one, other), ("date", "timestamp") | ("timestamp", "date"));
    if comparison && one != other && !dates {
        return plan_err!("TYPE_MISMATCH: Cannot apply operator: {} {op} {}", named(left), named(right));
    }
    if op == Operator::Minus && one == "date" && other == "date" {
        return plan_err!("date - date is an interval in Athena; use date_diff('day', from, to)");
    }
    Ok(())
}

fn named(kind: &DataType) -> &'static str {
    super::columns::athena_type(kind)
}
