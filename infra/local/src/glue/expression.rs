//! The filter of `GetPartitions`: SQL comparisons over typed partition keys, with SQL's three-valued logic.
//!
//! `=` `<>` `!=` `<` `>` `<=` `>=`, `AND` `OR` `NOT`, `IN`, `BETWEEN`, `LIKE` (`%`, `_`), `IS NULL`, parentheses.
//! A value that is not of its key's type, such as Hive's default partition, is null: no comparison holds for it.

use std::cmp::Ordering;

mod parse;
mod value;

#[cfg(test)]
mod tests;

pub(super) use value::{KeyType, PartitionKey};

use value::Value;

/// The longest expression, in characters (Glue's limit).
const MAX_LENGTH: usize = 2048;

/// Why an expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExpressionError {
    #[error("the expression is longer than 2,048 characters")]
    TooLong,
    #[error("the expression is nested deeper than 64 levels")]
    TooDeep,
    #[error("expected {expected} at character {at} of the expression")]
    Unexpected { expected: &'static str, at: usize },
    #[error("{name} is not a partition key")]
    UnknownKey { name: String },
    #[error("partition key {name} has type {kind}, which expressions cannot compare")]
    UnsupportedType { name: String, kind: String },
    #[error("{literal} is not a value of partition key {name}")]
    WrongLiteral { name: String, literal: String },
}

/// A filter, checked against the keys of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expression(Node);

impl Expression {
    /// Reads an expression. An empty one holds for every partition.
    pub(super) fn parse(text: &str, keys: &[PartitionKey]) -> Result<Self, ExpressionError> {
        if text.chars().count() > MAX_LENGTH {
            return Err(ExpressionError::TooLong);
        }
        if text.trim().is_empty() {
            return Ok(Self(Node::All(Vec::new())));
        }
        parse::parse(text, keys).map(Self)
    }

    /// Whether a partition with these values, in the order of the keys, is wanted.
    pub(super) fn holds(&self, values: &[String]) -> bool {
        self.0.eval(values) == Some(true)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }

    /// The operator with its sides exchanged.
    fn turned(self) -> Self {
        match self {
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }
}

/// A key by its place among the values, and how to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Column {
    index: usize,
    kind: KeyType,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Compare(Column, Operator, Value),
    In(Column, Vec<Value>),
    Like(Column, String),
    IsNull(Column),
}

impl Node {
    fn eval(&self, values: &[String]) -> Option<bool> {
        match self {
            Self::All(nodes) => fold(nodes, values, false),
            Self::Any(nodes) => fold(nodes, values, true),
            Self::Not(node) => node.eval(values).map(|holds| !holds),
            Self::Compare(column, operator, literal) => {
                column.read(values)?.compare(literal).map(|order| operator.holds(order))
            }
            Self::In(column, literals) => {
                let value = column.read(values)?;
                Some(literals.iter().any(|literal| value.compare(literal) == Some(Ordering::Equal)))
            }
            Self::Like(column, pattern) => {
                column.read(values)?;
                values.get(column.index).map(|text| like(text, pattern))
            }
            Self::IsNull(column) => Some(column.read(values).is_none()),
        }
    }
}

impl Column {
    fn read(self, values: &[String]) -> Option<Value> {
        values.get(self.index).and_then(|text| self.kind.read(text))
    }
}

/// AND and OR with nulls: `decisive` (false for AND, true for OR) settles it, else a null makes it null.
fn fold(nodes: &[Node], values: &[String], decisive: bool) -> Option<bool> {
    let mut result = Some(!decisive);
    for node in nodes {
        match node.eval(values) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

/// SQL's LIKE without an escape. Linear in the text for each `%`.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut place) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match (pattern.get(place), text.get(at)) {
            (Some('%'), _) => {
                retry = Some((place + 1, at));
                place += 1;
            }
            (Some(wanted), Some(found)) if *wanted == '_' || wanted == found => {
                place += 1;
                at += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    (place, at) = (after, from + 1);
                    retry = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(place).all(|rest| *rest == '%')
}
