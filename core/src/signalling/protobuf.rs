//! The little of Protocol Buffers that the messages of this folder, and those of a rendezvous, need.

use super::Malformed;

/// The value of a field, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a kind that none of our fields has.
    Other,
}

/// The fields of a message, in their order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for (index, byte) in self.0.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if index == 9 && bits > 1 {
                break;
            }
            number |= bits << (7 * index);
            if byte & 0x80 == 0 {
                self.0 = &self.0[index + 1..];
                return Ok(number);
            }
        }
        Err(Malformed::Number)
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Malformed> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.0.len());
        let (taken, rest) = self.0.split_at(count.ok_or(Malformed::Truncated)?);
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let length = self.number()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Other)?,
            _ => return Err(Malformed::Field),
        };
        Ok((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// Adds a number of seven bits a byte.
pub(crate) fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Adds a field with a small number.
pub(super) fn put_small(bytes: &mut Vec<u8>, field: u8, number: u8) {
    bytes.extend([field << 3, number & 0x7f]);
}

/// Adds a field with a number.
pub(crate) fn put_value(bytes: &mut Vec<u8>, field: u8, number: u64) {
    bytes.push(field << 3);
    put_number(bytes, number);
}

/// Adds a field of bytes.
pub(crate) fn put_bytes(bytes: &mut Vec<u8>, field: u8, value: &[u8]) {
    bytes.push(field << 3 | 2);
    put_number(bytes, value.len() as u64);
    bytes.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u64, Value<'_>)>, Malformed> {
        Fields(bytes).collect()
    }

    #[test]
    fn fields_of_every_kind_are_read_or_passed_over() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x25, 1, 2, 3, 4];
        let read = fields(&bytes).unwrap();
        let expected =
            [(1, Value::Number(150)), (2, Value::Bytes(b"hi")), (3, Value::Other), (4, Value::Other)];
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_cut_short_or_of_no_kind_is_malformed() {
        assert_eq!(fields(&[0x08]), Err(Malformed::Number));
        assert_eq!(fields(&[0x08, 0x80]), Err(Malformed::Number));
        assert_eq!(fields(&[0xff; 11]), Err(Malformed::Number));
        assert_eq!(fields(&[0x12, 3, 1, 2]), Err(Malformed::Truncated));
        assert_eq!(
            fields(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            Err(Malformed::Truncated)
        );
        assert_eq!(fields(&[0x19, 1, 2]), Err(Malformed::Truncated));
        assert_eq!(fields(&[0x0b]), Err(Malformed::Field));
        assert_eq!(Fields(&[0x0b, 0x08, 1]).count(), 1, "nothing is read after an error");
    }

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for number in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = vec![0x08];
            put_number(&mut bytes, number);
            assert_eq!(fields(&bytes).unwrap(), [(1, Value::Number(number))]);
        }
    }
}
