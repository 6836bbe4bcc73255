//! Values of the file of vectors: JSON whose maps keep the order of MessagePack's, with `{"hex": ...}` for bytes.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Int(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

/// A map with these fields, in this order.
pub(crate) fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Map(fields.map(|(name, value)| (name.to_owned(), value)).into())
}

pub(crate) fn list<V: Into<Value>>(values: impl IntoIterator<Item = V>) -> Value {
    Value::List(values.into_iter().map(Into::into).collect())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Value {
    /// What MessagePack bytes hold.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        rmp_serde::from_slice(bytes).unwrap()
    }

    /// The whole file: a line for each field of the outermost map, or for each entry where that is a list.
    pub(crate) fn document(&self) -> String {
        let Self::Map(fields) = self else { panic!("the outermost value is a map") };
        let fields = fields.iter().map(|(name, value)| match value {
            Self::List(entries) => {
                let entries: Vec<_> = entries.iter().map(|entry| format!("    {entry}")).collect();
                format!("  {}: [\n{}\n  ]", json(name), entries.join(",\n"))
            }
            value => format!("  {}: {value}", json(name)),
        });
        format!("{{\n{}\n}}\n", fields.collect::<Vec<_>>().join(",\n"))
    }
}

fn json(value: impl serde::Serialize) -> String {
    serde_json::to_string(&value).unwrap()
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => f.write_str(&json(value)),
            Self::Text(text) => f.write_str(&json(text)),
            Self::Bytes(bytes) => write!(f, "{{\"hex\": \"{}\"}}", hex(bytes)),
            Self::List(values) => {
                let values: Vec<_> = values.iter().map(Self::to_string).collect();
                write!(f, "[{}]", values.join(", "))
            }
            Self::Map(fields) => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{}: {value}", json(name))).collect();
                write!(f, "{{{}}}", fields.join(", "))
            }
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("what messages hold")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Int(value))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Float(value))
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(text.into())
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
                Ok(Value::Bytes(bytes.to_vec()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
                let mut values = vec![];
                while let Some(value) = source.next_element()? {
                    values.push(value);
                }
                Ok(Value::List(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
                let mut fields = vec![];
                while let Some(field) = source.next_entry()? {
                    fields.push(field);
                }
                Ok(Value::Map(fields))
            }
        }
        source.deserialize_any(Any)
    }
}
