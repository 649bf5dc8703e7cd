//! Why a query failed, as Athena says it.

use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};

/// Who is to blame: Athena's categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Category {
    /// 1: the service.
    System,
    /// 2: the query, or the data it reads.
    User,
}

/// A query's failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct QueryError {
    pub(super) category: Category,
    /// Begins with a name in capitals, such as `SYNTAX_ERROR: `.
    pub(super) message: String,
}

impl QueryError {
    pub(super) fn user(name: &str, message: &str) -> Self {
        Self { category: Category::User, message: format!("{name}: {message}") }
    }

    pub(super) fn system(message: &str) -> Self {
        Self { category: Category::System, message: format!("GENERIC_INTERNAL_ERROR: {message}") }
    }

    /// Athena's number of the error, by its category: internal, or a fault of the query.
    pub(super) fn error_type(&self) -> i32 {
        match self.category {
            Category::System => 200,
            Category::User => 1300,
        }
    }

    pub(super) fn category_number(&self) -> i32 {
        match self.category {
            Category::System => 1,
            Category::User => 2,
        }
    }
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        let root = error.find_root();
        if let DataFusionError::External(source) = root
            && let Some(own) = source.downcast_ref::<Self>()
        {
            return own.clone();
        }
        let text = match root {
            DataFusionError::Plan(text) | DataFusionError::Execution(text) | DataFusionError::NotImplemented(text) => {
                text.clone()
            }
            DataFusionError::ArrowError(source, _) if matches!(**source, ArrowError::DivideByZero) => {
                return Self::user("DIVISION_BY_ZERO", "Division by zero");
            }
            other => other.strip_backtrace(),
        };
        // Said by one of our functions of its arguments' types, within the engine's own words.
        if let Some((_, ours)) = text.split_once("coercion failed with: Error during planning: ") {
            let ours = ours.split_once(". No function matches").map_or(ours, |(ours, _)| ours);
            return Self::user("FUNCTION_NOT_FOUND", ours);
        }
        // What was refused by name keeps its name.
        if text.split_once(": ").is_some_and(|(name, _)| is_error_name(name)) {
            return Self { category: Category::User, message: text };
        }
        match root {
            DataFusionError::SchemaError(schema, _) => match &**schema {
                SchemaError::FieldNotFound { field, .. } => {
                    Self::user("COLUMN_NOT_FOUND", &format!("Column '{}' cannot be resolved", field.flat_name()))
                }
                SchemaError::AmbiguousReference { field } => {
                    Self::user("AMBIGUOUS_NAME", &format!("Column '{}' is ambiguous", field.flat_name()))
                }
                SchemaError::DuplicateQualifiedField { .. } | SchemaError::DuplicateUnqualifiedField { .. } => {
                    Self::user("SYNTAX_ERROR", &text)
                }
            },
            DataFusionError::Plan(_) if text.starts_with("Invalid function") => Self::user("FUNCTION_NOT_FOUND", &text),
            DataFusionError::Plan(_) | DataFusionError::SQL(..) => Self::user("SYNTAX_ERROR", &text),
            DataFusionError::NotImplemented(_) => Self::user("NOT_SUPPORTED", &text),
            DataFusionError::Execution(_) | DataFusionError::ArrowError(..) => Self::user("GENERIC_USER_ERROR", &text),
            DataFusionError::ResourcesExhausted(_) => Self::user("EXCEEDED_LOCAL_MEMORY_LIMIT", &text),
            DataFusionError::ParquetError(_) => Self::user("HIVE_BAD_DATA", &text),
            _ => Self::system(&text),
        }
    }
}

fn is_error_name(text: &str) -> bool {
    text.contains('_') && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}
