//! The writing side: a serde serializer into a buffer.

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{CborError, TIMESTAMP, TIMESTAMP_TAG};

const BREAK: u8 = 0xff;
const NULL: u8 = 0xf6;

/// Collects what is written.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

/// A map or array that is being written.
#[derive(Debug)]
pub(super) struct Items<'a> {
    writer: &'a mut Writer,
    /// Its length was not known: a break ends it.
    is_indefinite: bool,
}

impl Writer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn head(&mut self, major: u8, argument: u64) {
        let major = major << 5;
        match (u8::try_from(argument), u16::try_from(argument), u32::try_from(argument)) {
            (Ok(small), _, _) if small < 24 => self.bytes.push(major | small),
            (Ok(byte), _, _) => self.bytes.extend_from_slice(&[major | 24, byte]),
            (_, Ok(short), _) => {
                self.bytes.push(major | 25);
                self.bytes.extend_from_slice(&short.to_be_bytes());
            }
            (_, _, Ok(word)) => {
                self.bytes.push(major | 26);
                self.bytes.extend_from_slice(&word.to_be_bytes());
            }
            _ => {
                self.bytes.push(major | 27);
                self.bytes.extend_from_slice(&argument.to_be_bytes());
            }
        }
    }

    fn string(&mut self, major: u8, bytes: &[u8]) {
        self.head(major, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.bytes.extend_from_slice(bytes);
    }

    fn nested(&mut self, major: u8, length: Option<usize>) -> Items<'_> {
        match length {
            Some(length) => self.head(major, u64::try_from(length).unwrap_or(u64::MAX)),
            None => self.bytes.push(major << 5 | 31),
        }
        Items { writer: self, is_indefinite: length.is_none() }
    }
}

impl Items<'_> {
    fn finish(self) {
        if self.is_indefinite {
            self.writer.bytes.push(BREAK);
        }
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), CborError> {
        self.writer.string(3, name.as_bytes());
        value.serialize(&mut *self.writer)
    }
}

impl<'a> Serializer for &'a mut Writer {
    type Ok = ();
    type Error = CborError;
    type SerializeSeq = Items<'a>;
    type SerializeTuple = Items<'a>;
    type SerializeTupleStruct = Items<'a>;
    type SerializeTupleVariant = Items<'a>;
    type SerializeMap = Items<'a>;
    type SerializeStruct = Items<'a>;
    type SerializeStructVariant = Items<'a>;

    fn serialize_bool(self, value: bool) -> Result<(), CborError> {
        self.bytes.push(0xf4 | u8::from(value));
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), CborError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), CborError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), CborError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), CborError> {
        match u64::try_from(value) {
            Ok(value) => self.head(0, value),
            Err(_negative) => self.head(1, value.unsigned_abs() - 1),
        }
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), CborError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), CborError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), CborError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), CborError> {
        self.head(0, value);
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), CborError> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), CborError> {
        self.bytes.push(0xfb);
        self.bytes.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), CborError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), CborError> {
        self.string(3, value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), CborError> {
        self.string(2, value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), CborError> {
        self.bytes.push(NULL);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CborError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), CborError> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), CborError> {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<(), CborError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), CborError> {
        if name == TIMESTAMP {
            self.head(6, TIMESTAMP_TAG);
        }
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CborError> {
        self.nested(5, Some(1)).field(variant, value)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Items<'a>, CborError> {
        Ok(self.nested(4, length))
    }

    fn serialize_tuple(self, length: usize) -> Result<Items<'a>, CborError> {
        Ok(self.nested(4, Some(length)))
    }

    fn serialize_tuple_struct(self, _name: &'static str, length: usize) -> Result<Items<'a>, CborError> {
        Ok(self.nested(4, Some(length)))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Items<'a>, CborError> {
        self.head(5, 1);
        self.string(3, variant.as_bytes());
        Ok(self.nested(4, Some(length)))
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Items<'a>, CborError> {
        Ok(self.nested(5, length))
    }

    fn serialize_struct(self, _name: &'static str, length: usize) -> Result<Items<'a>, CborError> {
        Ok(self.nested(5, Some(length)))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Items<'a>, CborError> {
        self.head(5, 1);
        self.string(3, variant.as_bytes());
        Ok(self.nested(5, Some(length)))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The four kinds of array differ in name only.
macro_rules! array_items {
    ($($kind:ident $method:ident),*) => {$(
        impl $kind for Items<'_> {
            type Ok = ();
            type Error = CborError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CborError> {
                value.serialize(&mut *self.writer)
            }

            fn end(self) -> Result<(), CborError> {
                self.finish();
                Ok(())
            }
        }
    )*};
}

array_items!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

/// The two kinds of struct differ in name only.
macro_rules! struct_items {
    ($($kind:ident),*) => {$(
        impl $kind for Items<'_> {
            type Ok = ();
            type Error = CborError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), CborError> {
                self.field(key, value)
            }

            fn end(self) -> Result<(), CborError> {
                self.finish();
                Ok(())
            }
        }
    )*};
}

struct_items!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for Items<'_> {
    type Ok = ();
    type Error = CborError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CborError> {
        key.serialize(&mut *self.writer)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CborError> {
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), CborError> {
        self.finish();
        Ok(())
    }
}
