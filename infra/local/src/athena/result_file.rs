//! A result as it lies in S3, and reading it back page by page.
//!
//! CSV as Athena writes it: every value in quotes, null as nothing between the commas, a line end within quotes kept.
//! SHOW and DESCRIBE leave plain lines, with a tab between columns.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// A row of a page: null or text in each column.
pub(super) type Row = Vec<Option<String>>;

/// The longest row that is read back, in bytes: Athena's 32 MB.
const MAX_ROW: u64 = 32 << 20;

/// Writes one row.
pub(super) fn write_row<'v>(out: &mut String, values: impl Iterator<Item = Option<&'v str>>) {
    for (place, value) in values.enumerate() {
        if place > 0 {
            out.push(',');
        }
        if let Some(value) = value {
            out.push('"');
            out.push_str(&value.replace('"', "\"\""));
            out.push('"');
        }
    }
    out.push('\n');
}

/// Rows from a byte of the file on, and the byte after the last one; `None` at the end.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) rows: Vec<Row>,
    pub(super) next: Option<u64>,
}

/// Reads at most `limit` rows.
pub(super) fn read_page(file: impl Read + Seek, start: u64, limit: usize, is_text: bool) -> io::Result<Page> {
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(start))?;
    let (mut rows, mut at) = (Vec::new(), start);
    while rows.len() < limit {
        let line = if is_text { read_line(&mut reader)? } else { read_record(&mut reader)? };
        let Some(line) = line else { return Ok(Page { rows, next: None }) };
        at += line.len() as u64;
        let text = std::str::from_utf8(&line).map_err(io::Error::other)?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        rows.push(if is_text { vec![Some(text.to_owned())] } else { split(text) });
    }
    let is_end = reader.fill_buf()?.is_empty();
    Ok(Page { rows, next: (!is_end).then_some(at) })
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = reader.by_ref().take(MAX_ROW).read_until(b'\n', &mut line)?;
    Ok((read > 0).then_some(line))
}

/// A line of CSV, which goes on while a quote is open.
fn read_record(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut record = Vec::new();
    loop {
        let Some(line) = read_line(reader)? else { return Ok((!record.is_empty()).then_some(record)) };
        record.extend_from_slice(&line);
        if record.len() as u64 >= MAX_ROW {
            return Err(io::Error::other("a row of the result is longer than 32 MB"));
        }
        if record.iter().filter(|byte| **byte == b'"').count() % 2 == 0 {
            return Ok(Some(record));
        }
    }
}

fn split(record: &str) -> Row {
    let mut row = Vec::new();
    let mut characters = record.chars().peekable();
    loop {
        let mut value = None;
        if characters.next_if_eq(&'"').is_some() {
            let mut text = String::new();
            while let Some(next) = characters.next() {
                if next == '"' && characters.next_if_eq(&'"').is_none() {
                    break;
                }
                text.push(next);
            }
            value = Some(text);
        }
        row.push(value);
        if characters.next() != Some(',') {
            return row;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::{any, proptest};

    use super::{Row, read_page, write_row};

    fn pages(file: &str, limit: usize, is_text: bool) -> Vec<Row> {
        let (mut rows, mut start) = (Vec::new(), 0);
        loop {
            let page = read_page(Cursor::new(file.as_bytes()), start, limit, is_text).unwrap();
            assert!(page.rows.len() <= limit);
            rows.extend(page.rows);
            match page.next {
                Some(next) => start = next,
                None => return rows,
            }
        }
    }

    #[test]
    fn null_and_empty_are_told_apart() {
        let mut file = String::new();
        write_row(&mut file, [Some("a"), None, Some("")].into_iter());
        write_row(&mut file, [Some("x\"\ny,"), Some("b"), None].into_iter());
        assert_eq!(file, "\"a\",,\"\"\n\"x\"\"\ny,\",\"b\",\n");
        let own = |text: &str| Some(text.to_owned());
        let expected = vec![vec![own("a"), None, own("")], vec![own("x\"\ny,"), own("b"), None]];
        assert_eq!(pages(&file, 1, false), expected);
        assert_eq!(pages("one\ntwo\tx\n", 5, true), vec![vec![own("one")], vec![own("two\tx")]]);
        assert_eq!(pages("", 5, false), Vec::<Row>::new());
    }

    proptest! {
        #[test]
        fn rows_come_back(rows in vec(vec(option::of(any::<String>()), 2..4), 0..6), limit in 1_usize..4) {
            let mut file = String::new();
            for row in &rows {
                write_row(&mut file, row.iter().map(Option::as_deref));
            }
            assert_eq!(pages(&file, limit, false), rows);
        }
    }
}
