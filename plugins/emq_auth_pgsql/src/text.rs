//! Values on their way to the server, as text, and columns on their way back.

use bytes::BytesMut;
use emqttd_backend::Cell;
use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio_postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

/// A parameter. It is sent as text whatever type the server has inferred for it, which then reads it as it would
/// read a literal.
#[derive(Debug)]
pub(crate) struct Parameter<'a>(pub Option<&'a str>);

impl ToSql for Parameter<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(text) = self.0 else {
            return Ok(IsNull::Yes);
        };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// A column of any type that can be understood.
#[derive(Debug)]
pub(crate) struct Column(pub Cell);

impl<'a> FromSql<'a> for Column {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Column, Box<dyn Error + Sync + Send>> {
        match cell(ty, raw) {
            Some(cell) => Ok(Column(cell)),
            None => Err(format!("its type is {ty}: cast it to text").into()),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Column, Box<dyn Error + Sync + Send>> {
        Ok(Column(Cell::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// `None` = nothing is known of this type.
fn cell(ty: &Type, raw: &[u8]) -> Option<Cell> {
    match ty.kind() {
        Kind::Domain(base) => return cell(base, raw),
        Kind::Enum(_) => return Some(Cell::Text(raw.to_vec())),
        _ => {}
    }
    Some(match *ty {
        Type::BOOL => Cell::Bool(*raw.first()? != 0),
        Type::INT2 => Cell::Integer(i16::from_be_bytes(raw.try_into().ok()?).into()),
        Type::INT4 => Cell::Integer(i32::from_be_bytes(raw.try_into().ok()?).into()),
        Type::INT8 => Cell::Integer(i64::from_be_bytes(raw.try_into().ok()?)),
        Type::OID => Cell::Integer(u32::from_be_bytes(raw.try_into().ok()?).into()),
        // Blanks at the end of char(n) mean nothing.
        Type::BPCHAR => {
            let blanks = raw.iter().rev().take_while(|byte| **byte == b' ').count();
            Cell::Text(raw[..raw.len() - blanks].to_vec())
        }
        Type::TEXT
        | Type::VARCHAR
        | Type::NAME
        | Type::CHAR
        | Type::UNKNOWN
        | Type::BYTEA
        | Type::JSON
        | Type::XML => Cell::Text(raw.to_vec()),
        Type::INET | Type::CIDR => Cell::Text(network(raw)?.into_bytes()),
        Type::UUID => Cell::Text(uuid(raw).into_bytes()),
        // Of an extension: its number differs from server to server.
        _ if ty.name() == "citext" => Cell::Text(raw.to_vec()),
        _ => return None,
    })
}

/// `10.0.0.0/8`, as the server writes it: without the mask where it is a single address.
fn network(raw: &[u8]) -> Option<String> {
    let [_family, bits, _is_cidr, length, address @ ..] = raw else {
        return None;
    };
    let (address, full) = match *length {
        4 => (
            Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?).to_string(),
            32,
        ),
        16 => (
            Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).to_string(),
            128,
        ),
        _ => return None,
    };
    Some(match *bits == full {
        true => address,
        false => format!("{address}/{bits}"),
    })
}

fn uuid(raw: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in raw.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn columns() {
        let text = |text: &str| Some(Cell::Text(text.as_bytes().to_vec()));
        for (ty, raw, wanted) in [
            (Type::BOOL, &[1][..], Some(Cell::Bool(true))),
            (Type::BOOL, &[0], Some(Cell::Bool(false))),
            (Type::BOOL, &[], None),
            (Type::INT2, &[0xff, 0xfe], Some(Cell::Integer(-2))),
            (Type::INT4, &[0, 0, 1, 0], Some(Cell::Integer(256))),
            (
                Type::INT8,
                &[0, 0, 0, 0, 0, 0, 0, 3],
                Some(Cell::Integer(3)),
            ),
            (Type::INT4, &[1], None),
            (Type::OID, &[0xff; 4], Some(Cell::Integer(0xffff_ffff))),
            (Type::VARCHAR, b"a ", text("a ")),
            (Type::BPCHAR, b"a  ", text("a")),
            (Type::INET, &[2, 32, 0, 4, 10, 0, 0, 1], text("10.0.0.1")),
            (Type::CIDR, &[2, 8, 1, 4, 10, 0, 0, 0], text("10.0.0.0/8")),
            (Type::INET, &[2, 32, 0, 4, 10], None),
            (Type::INET, &[2], None),
            (
                Type::UUID,
                &[0xab; 16],
                text("abababab-abab-abab-abab-abababababab"),
            ),
            (Type::NUMERIC, &[0; 8], None),
        ] {
            assert_eq!(cell(&ty, raw), wanted, "{ty} {raw:?}");
        }
        let v6 = [&[3, 64, 0, 16, 0x20, 1][..], &[0; 14]].concat();
        assert_eq!(cell(&Type::INET, &v6), text("2001::/64"));
    }

    #[test]
    fn parameters_are_text() {
        let mut out = BytesMut::new();
        let parameter = Parameter(Some("x' or '1'='1"));
        for ty in [Type::INT4, Type::TEXT, Type::UUID] {
            out.clear();
            let null = parameter.to_sql_checked(&ty, &mut out).unwrap();
            assert!(matches!(null, IsNull::No));
            assert_eq!(&out[..], b"x' or '1'='1");
            assert!(matches!(parameter.encode_format(&ty), Format::Text));
        }
        let null = Parameter(None).to_sql_checked(&Type::INT4, &mut out);
        assert!(matches!(null.unwrap(), IsNull::Yes));
    }
}
