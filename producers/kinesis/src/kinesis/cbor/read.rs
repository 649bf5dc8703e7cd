//! Answers in CBOR (RFC 8949), of any length and depth that a server may send: what is not looked for is skipped, nothing panics, and
//! nothing is reserved for lengths that are only claimed.

use aws_sdk_kinesis::types::PutRecordsResultEntry;

/// Maps and arrays within each other at most; an answer needs three.
const DEPTH_MAX: u8 = 16;

/// Records that an answer has at most, so many as a request.
const RECORDS_MAX: usize = 500;

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

/// Ends what has no length.
const BREAK: u8 = 0xFF;

/// The bytes are no answer in CBOR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not CBOR from its byte {at} on")]
pub(super) struct NotCbor {
    at: usize,
}

/// The results in an answer to `PutRecords`.
pub(super) fn records(bytes: &[u8]) -> Result<Vec<PutRecordsResultEntry>, NotCbor> {
    let mut reader = Reader { bytes, at: 0, depth: 0 };
    let mut records = Vec::new();
    reader.map(|reader, name| match name {
        "Records" => reader.array(|reader| {
            if records.len() == RECORDS_MAX {
                return Err(reader.wrong());
            }
            records.push(record(reader)?);
            Ok(())
        }),
        _ => reader.skip(),
    })?;
    Ok(records)
}

fn record(reader: &mut Reader<'_>) -> Result<PutRecordsResultEntry, NotCbor> {
    let mut record = PutRecordsResultEntry::builder();
    reader.map(|reader, name| {
        let place = match name {
            "SequenceNumber" => PutRecordsResultEntryField::set_sequence_number,
            "ShardId" => PutRecordsResultEntryField::set_shard_id,
            "ErrorCode" => PutRecordsResultEntryField::set_error_code,
            "ErrorMessage" => PutRecordsResultEntryField::set_error_message,
            _ => return reader.skip(),
        };
        let value = reader.text_or_null()?;
        record = place(std::mem::take(&mut record), value);
        Ok(())
    })?;
    Ok(record.build())
}

type PutRecordsResultEntryField = aws_sdk_kinesis::types::builders::PutRecordsResultEntryBuilder;

/// Code and message of an error.
pub(super) fn error(bytes: &[u8]) -> Result<(String, String), NotCbor> {
    let mut reader = Reader { bytes, at: 0, depth: 0 };
    let (mut code, mut message) = (String::new(), String::new());
    reader.map(|reader, name| {
        match name {
            "__type" | "code" => code = reader.text_or_null()?.unwrap_or_default(),
            "message" | "Message" => message = reader.text_or_null()?.unwrap_or_default(),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    // The name may stand behind a namespace, and before an address.
    let name = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default();
    Ok((name.to_owned(), message))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u8,
}

/// What stands before an item: its type, and its length or value, if it has one.
type Head = (u8, Option<u64>);

impl<'a> Reader<'a> {
    fn wrong(&self) -> NotCbor {
        NotCbor { at: self.at }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], NotCbor> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let taken = end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| self.wrong())?;
        self.at += taken.len();
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, NotCbor> {
        self.take(1)?.first().copied().ok_or_else(|| self.wrong())
    }

    /// Skips tags, which say nothing here.
    fn head(&mut self) -> Result<Head, NotCbor> {
        loop {
            let first = self.byte()?;
            let (major, info) = (first >> 5, first & 0x1F);
            let value = match info {
                0..24 => Some(u64::from(info)),
                24..28 => {
                    let bytes = self.take(1 << (info - 24))?;
                    Some(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
                }
                31 if (BYTES..=MAP).contains(&major) => None,
                _ => return Err(self.wrong()),
            };
            if major != TAG {
                return Ok((major, value));
            }
        }
    }

    /// Whether an item without length ends here.
    fn ends(&mut self) -> bool {
        let ends = self.bytes.get(self.at) == Some(&BREAK);
        self.at += usize::from(ends);
        ends
    }

    /// Calls `item` until as many items are read as there are.
    fn items(
        &mut self,
        count: Option<u64>,
        mut item: impl FnMut(&mut Self) -> Result<(), NotCbor>,
    ) -> Result<(), NotCbor> {
        if self.depth == DEPTH_MAX {
            return Err(self.wrong());
        }
        self.depth += 1;
        match count {
            Some(count) => {
                for _ in 0..count {
                    item(self)?;
                }
            }
            None => {
                while !self.ends() {
                    item(self)?;
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn map(&mut self, mut member: impl FnMut(&mut Self, &str) -> Result<(), NotCbor>) -> Result<(), NotCbor> {
        let (MAP, count) = self.head()? else { return Err(self.wrong()) };
        self.items(count, |reader| {
            let name = reader.text_or_null()?.ok_or_else(|| reader.wrong())?;
            member(reader, &name)
        })
    }

    fn array(&mut self, item: impl FnMut(&mut Self) -> Result<(), NotCbor>) -> Result<(), NotCbor> {
        let (ARRAY, count) = self.head()? else { return Err(self.wrong()) };
        self.items(count, item)
    }

    /// A text, or none where there is `null` or `undefined`.
    fn text_or_null(&mut self) -> Result<Option<String>, NotCbor> {
        match self.head()? {
            (TEXT, Some(length)) => self.text(length).map(Some),
            (TEXT, None) => {
                let mut whole = String::new();
                self.items(None, |reader| {
                    let (TEXT, Some(length)) = reader.head()? else { return Err(reader.wrong()) };
                    whole.push_str(&reader.text(length)?);
                    Ok(())
                })?;
                Ok(Some(whole))
            }
            (7, Some(22 | 23)) => Ok(None),
            _ => Err(self.wrong()),
        }
    }

    fn text(&mut self, length: u64) -> Result<String, NotCbor> {
        let bytes = self.take(length)?;
        str::from_utf8(bytes).map(str::to_owned).map_err(|_not_text| self.wrong())
    }

    fn skip(&mut self) -> Result<(), NotCbor> {
        let (major, value) = self.head()?;
        match (major, value) {
            (UNSIGNED | NEGATIVE, _) => Ok(()),
            (BYTES | TEXT, Some(length)) => self.take(length).map(drop),
            (BYTES | TEXT | ARRAY, _) => self.items(value, Self::skip),
            (MAP, _) => self.items(value, |reader| reader.skip().and_then(|()| reader.skip())),
            // Truth, nothing, and floats: no more than the head.
            (_, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::types::PutRecordsResultEntry;
    use proptest::prelude::*;

    use super::{DEPTH_MAX, error, records};

    #[test]
    fn answers_of_either_kind_of_length_are_read() {
        let expect = [
            PutRecordsResultEntry::builder().sequence_number("49").shard_id("shardId-0").build(),
            PutRecordsResultEntry::builder().error_code("InternalFailure").error_message("é").build(),
        ];
        let definite = [
            b"\xA2\x71FailedRecordCount\x01\x67Records\x82".as_slice(),
            b"\xA2\x6ESequenceNumber\x6249\x67ShardId\x69shardId-0",
            b"\xA2\x69ErrorCode\x6FInternalFailure\x6CErrorMessage\x62\xC3\xA9",
        ];
        assert_eq!(records(&definite.concat()).unwrap(), expect);
        // As Jackson writes: no lengths; with members that nobody knows, and `null` for what is not there.
        let indefinite = [
            b"\xBF\x67Records\x9F".as_slice(),
            b"\xBF\x6ESequenceNumber\x7F\x614\x619\xFF\x67ShardId\x69shardId-0\x69ErrorCode\xF6\xFF",
            b"\xBF\x69ErrorCode\x6FInternalFailure\x61x\xC1\xFB\0\0\0\0\0\0\0\0\x61y\x9F\x5F\x41a\xFF\x20\xFF",
            b"\x6CErrorMessage\x62\xC3\xA9\xFF\xFF",
            b"\x6EEncryptionType\x64NONE\xFF",
        ];
        assert_eq!(records(&indefinite.concat()).unwrap(), expect);
    }

    #[test]
    fn errors_are_read() {
        for (bytes, expect) in [
            (
                b"\xA2\x66__type\x78\x19ResourceNotFoundException\x67message\x62no".as_slice(),
                ("ResourceNotFoundException", "no"),
            ),
            (b"\xBF\x66__type\x78\x1Acom.amazonaws.kinesis#Nope\x67Message\x61m\xFF", ("Nope", "m")),
            (b"\xA1\x64code\x68Nope:uri", ("Nope", "")),
            (b"\xA0", ("", "")),
        ] {
            let (code, message) = error(bytes).unwrap();
            assert_eq!((&*code, &*message), expect);
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let too_deep = [b"\xA1\x61x".as_slice(), &vec![0x81; usize::from(DEPTH_MAX) + 1], b"\x01"].concat();
        let too_many = [b"\xA1\x67Records\x99\x01\xF5".as_slice(), &[0xA0; 501]].concat();
        for bytes in [
            b"".as_slice(),
            b"{\"Records\":[]}",
            b"\xA1\x67Records\xA0",
            b"\xA1\x67Records\x9B\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
            b"\xA1\x67Records\x81\xA1\x67ShardId\x01",
            b"\xA1\x67Records\x81\xA1\x67ShardId\x61\xFF",
            b"\xA1\x01\x01",
            b"\xBF\x61x",
            &too_deep,
            &too_many,
        ] {
            assert!(records(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..40_usize) {
            drop((records(&bytes), error(&bytes)));
            let good = b"\xA2\x71FailedRecordCount\x01\x67Records\x81\xA2\x6ESequenceNumber\x6249\x67ShardId\x69shardId-0";
            let mut mutated = good.to_vec();
            mutated.splice(at..at + 1, bytes.into_iter().take(2));
            drop((records(&mutated), error(&mutated)));
        }
    }
}
