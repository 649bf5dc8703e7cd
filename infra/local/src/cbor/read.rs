//! The reading side: a serde deserializer over a slice.

use std::borrow::Cow;

use serde::Deserializer;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{CborError, DEPTH_MAX};

const BREAK: u8 = 0xff;
const NULL: u8 = 0xf6;
const UNDEFINED: u8 = 0xf7;

/// Reads items off the front of a slice.
#[derive(Debug)]
pub(super) struct Reader<'de> {
    rest: &'de [u8],
    depth: u8,
}

/// An item's first byte, taken apart, with its argument.
#[derive(Debug, Clone, Copy)]
struct Head {
    byte: u8,
    major: u8,
    /// `None` is an indefinite length, or a break.
    argument: Option<u64>,
}

impl<'de> Reader<'de> {
    pub(super) fn new(rest: &'de [u8]) -> Self {
        Self { rest, depth: 0 }
    }

    /// Nothing may follow.
    pub(super) fn finish(&self) -> Result<(), CborError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CborError::Trailing { bytes: self.rest.len() }) }
    }

    fn byte(&mut self) -> Result<u8, CborError> {
        let (first, rest) = self.rest.split_first().ok_or(CborError::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(CborError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn take(&mut self, length: u64) -> Result<&'de [u8], CborError> {
        let length = usize::try_from(length).map_err(|_beyond_memory| CborError::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CborError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn head(&mut self) -> Result<Head, CborError> {
        let byte = self.byte()?;
        let argument = match byte & 0x1f {
            small @ 0..=23 => Some(u64::from(small)),
            24 => Some(u64::from(self.byte()?)),
            25 => Some(u64::from(u16::from_be_bytes(self.array()?))),
            26 => Some(u64::from(u32::from_be_bytes(self.array()?))),
            27 => Some(u64::from_be_bytes(self.array()?)),
            31 => None,
            _reserved => return Err(CborError::Unexpected { byte }),
        };
        Ok(Head { byte, major: byte >> 5, argument })
    }

    /// The next head that is not a tag.
    fn untagged(&mut self) -> Result<Head, CborError> {
        loop {
            let head = self.head()?;
            if head.major != 6 {
                return Ok(head);
            }
            if head.argument.is_none() {
                return Err(CborError::Unexpected { byte: head.byte });
            }
        }
    }

    /// A byte or text string whose head was read: borrowed when it is in one piece.
    fn string(&mut self, head: Head) -> Result<Cow<'de, [u8]>, CborError> {
        if let Some(length) = head.argument {
            return Ok(Cow::Borrowed(self.take(length)?));
        }
        let mut whole = Vec::new();
        loop {
            let piece = self.head()?;
            if piece.byte == BREAK {
                return Ok(Cow::Owned(whole));
            }
            let (true, Some(length)) = (piece.major == head.major, piece.argument) else {
                return Err(CborError::Unexpected { byte: piece.byte });
            };
            whole.extend_from_slice(self.take(length)?);
        }
    }

    fn text(&mut self, head: Head) -> Result<Cow<'de, str>, CborError> {
        match self.string(head)? {
            Cow::Borrowed(bytes) => {
                std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_not_utf8| CborError::NotText)
            }
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_not_utf8| CborError::NotText),
        }
    }

    fn nested<T>(
        &mut self,
        length: Option<u64>,
        visit: impl FnOnce(&mut Items<'_, 'de>) -> Result<T, CborError>,
    ) -> Result<T, CborError> {
        if self.depth >= DEPTH_MAX {
            return Err(CborError::TooDeep);
        }
        self.depth += 1;
        let mut items = Items { reader: self, left: length };
        let value = visit(&mut items)?;
        let is_over = items.is_over()?;
        self.depth -= 1;
        if is_over { Ok(value) } else { Err(CborError::TooMany) }
    }
}

/// The items of a map or array that is being read.
struct Items<'a, 'de> {
    reader: &'a mut Reader<'de>,
    /// Items (or pairs) that follow; `None` until a break.
    left: Option<u64>,
}

impl Items<'_, '_> {
    /// Whether nothing follows; takes the break of an indefinite one.
    fn is_over(&mut self) -> Result<bool, CborError> {
        match self.left {
            Some(left) => Ok(left == 0),
            None if self.reader.rest.first() == Some(&BREAK) => {
                self.reader.byte()?;
                self.left = Some(0);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn start(&mut self) -> Result<bool, CborError> {
        if self.is_over()? {
            return Ok(false);
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(true)
    }

    fn hint(&self) -> Option<usize> {
        // No more items can follow than there are bytes, whatever the head claims.
        self.left.map(|left| usize::try_from(left).unwrap_or(usize::MAX).min(self.reader.rest.len()))
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = CborError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, CborError> {
        if self.start()? { seed.deserialize(&mut *self.reader).map(Some) } else { Ok(None) }
    }

    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de> MapAccess<'de> for &mut Items<'_, 'de> {
    type Error = CborError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, CborError> {
        if self.start()? { seed.deserialize(&mut *self.reader).map(Some) } else { Ok(None) }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, CborError> {
        seed.deserialize(&mut *self.reader)
    }

    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = CborError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        let head = self.untagged()?;
        match (head.major, head.argument) {
            (0, Some(value)) => visitor.visit_u64(value),
            (1, Some(below)) => {
                let below = i64::try_from(below).map_err(|_too_low| CborError::OutOfRange)?;
                visitor.visit_i64(-1 - below)
            }
            (2, _) => match self.string(head)? {
                Cow::Borrowed(bytes) => visitor.visit_borrowed_bytes(bytes),
                Cow::Owned(bytes) => visitor.visit_byte_buf(bytes),
            },
            (3, _) => match self.text(head)? {
                Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                Cow::Owned(text) => visitor.visit_string(text),
            },
            (4, length) => self.nested(length, |items| visitor.visit_seq(items)),
            (5, length) => self.nested(length, |items| visitor.visit_map(items)),
            (7, _) => simple(head, visitor),
            _ => Err(CborError::Unexpected { byte: head.byte }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        match self.rest.first() {
            Some(&(NULL | UNDEFINED)) => {
                self.byte()?;
                visitor.visit_none()
            }
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CborError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CborError> {
        let head = self.untagged()?;
        if head.major != 3 {
            return Err(CborError::Unexpected { byte: head.byte });
        }
        let text = self.text(head)?;
        let variant: StrDeserializer<'_, CborError> = text.as_ref().into_deserializer();
        visitor.visit_enum(variant)
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A truth, nothing, or a float.
fn simple<'de, V: Visitor<'de>>(head: Head, visitor: V) -> Result<V::Value, CborError> {
    // The argument's width tells floats from simple values.
    match (head.byte & 0x1f, head.argument) {
        (20, _) => visitor.visit_bool(false),
        (21, _) => visitor.visit_bool(true),
        (22 | 23, _) => visitor.visit_unit(),
        (25, Some(bits)) => visitor.visit_f64(half(u16::try_from(bits).unwrap_or(0))),
        (26, Some(bits)) => visitor.visit_f64(f64::from(f32::from_bits(u32::try_from(bits).unwrap_or(0)))),
        (27, Some(bits)) => visitor.visit_f64(f64::from_bits(bits)),
        _ => Err(CborError::Unexpected { byte: head.byte }),
    }
}

/// A 16-bit float's value: exact, since a 64-bit one holds every 16-bit one.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from((bits >> 10) & 0x1f);
    let fraction = f64::from(bits & 0x3ff);
    sign * match exponent {
        0 => fraction * (-24_f64).exp2(),
        31 if bits & 0x3ff == 0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * f64::from(exponent - 25).exp2(),
    }
}
