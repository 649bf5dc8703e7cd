//! The header of a report file: comment lines that say what the report answers, and of what columns.

use super::Report;

/// Why a header is not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderError {
    /// A line is none of the known ones.
    #[error("line {0} of the header is not understood")]
    Line(usize),
    /// A line is missing.
    #[error("the header has no {0}")]
    Missing(&'static str),
}

impl Report {
    /// Reads a file: the header, then the SQL.
    pub(super) fn parse(name: &'static str, text: &'static str) -> Result<Self, HeaderError> {
        let (mut title, mut question, mut table) = (None, None, None);
        let (mut parameters, mut columns) = (Vec::new(), Vec::new());
        let mut rest = text;
        let mut number = 0;
        while let Some(line_and_more) = rest.strip_prefix("-- ") {
            number += 1;
            let (line, more) = line_and_more.split_once('\n').ok_or(HeaderError::Line(number))?;
            let (subject, meaning) = line.split_once(": ").ok_or(HeaderError::Line(number))?;
            match subject.split_once(' ').unwrap_or((subject, "")) {
                ("title", "") => title = Some(meaning),
                ("question", "") => question = Some(meaning),
                ("table", "") => table = Some(meaning),
                ("parameter", name) if !name.is_empty() => parameters.push((name, meaning)),
                ("column", name) if !name.is_empty() => columns.push((name, meaning)),
                _ => return Err(HeaderError::Line(number)),
            }
            rest = more;
        }
        Ok(Report {
            name,
            title: title.ok_or(HeaderError::Missing("title"))?,
            question: question.ok_or(HeaderError::Missing("question"))?,
            table: table.ok_or(HeaderError::Missing("table"))?,
            parameters,
            columns,
            text: rest,
        })
    }
}
