//! The header of a report file: comment lines that say what the report answers, and of what columns.

/// What a report's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// One line for a list.
    pub title: &'static str,
    /// The question it answers.
    pub question: &'static str,
    /// The table it reads.
    pub table: &'static str,
    /// Parameters and their meaning.
    pub parameters: Vec<(&'static str, &'static str)>,
    /// Columns of the answer and their meaning, in order.
    pub columns: Vec<(&'static str, &'static str)>,
}

/// Why a header is not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A line is none of the known ones.
    #[error("line {0} of the header is not understood")]
    Line(usize),
    /// A line is missing.
    #[error("the header has no {0}")]
    Missing(&'static str),
}

impl Header {
    /// Reads the header of a file, and gives the rest: the SQL.
    ///
    /// # Errors
    /// When a line is not understood or missing.
    pub fn parse(text: &'static str) -> Result<(Self, &'static str), HeaderError> {
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
        let header = Header {
            title: title.ok_or(HeaderError::Missing("title"))?,
            question: question.ok_or(HeaderError::Missing("question"))?,
            table: table.ok_or(HeaderError::Missing("table"))?,
            parameters,
            columns,
        };
        Ok((header, rest))
    }
}
