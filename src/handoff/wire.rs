//! Wire: how values, records and messages become tag-length-value fields and back. Pure.
//!
//! `record!` declares a struct whose fields have numbers, `codes!` an enum whose values do, `messages!` the kinds
//! that one connection carries. The numbers are the protocol: never reuse one, never change what one means; a field
//! that comes later is an `Option` or a `Vec`. Of a struct, only these numbers reach another version.

use crate::handoff::frame::{Body, DecodeError, Fields};

/// A value that a field can hold.
pub(crate) trait Value: Sized {
    /// Appends it under `tag`; an absent option and an empty list leave nothing.
    fn put(&self, tag: u16, body: &mut Body);

    /// Reads the value under `tag`.
    fn take(fields: &Fields<'_>, tag: u16) -> Result<Self, DecodeError>;

    /// Any value, for tests.
    #[cfg(test)]
    fn sample(random: &mut fastrand::Rng) -> Self;
}

/// A struct of numbered fields.
pub(crate) trait WireRecord: Sized {
    /// Appends all fields.
    fn encode(&self, body: &mut Body);

    /// Reads all fields; refuses a body with a critical field that this version does not support.
    fn decode(fields: &Fields<'_>) -> Result<Self, DecodeError>;

    /// The bytes of a body that holds this record alone.
    fn to_bytes(&self) -> Vec<u8> {
        let mut body = Body::default();
        self.encode(&mut body);
        body.into_bytes()
    }

    /// Reads a body that holds this record alone.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode(&Fields::parse(bytes)?)
    }

    /// Any record, for tests.
    #[cfg(test)]
    fn sample(random: &mut fastrand::Rng) -> Self;
}

/// Declares a record: `struct Name { 1 => field: Type, }`.
macro_rules! record {
    ($(#[$doc:meta])* $vis:vis struct $name:ident {
        $($(#[$field_doc:meta])* $tag:literal => $field:ident: $type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        $vis struct $name {
            $($(#[$field_doc])* $vis $field: $type,)*
        }

        #[allow(unused_variables)] // a record may have no fields yet
        impl $crate::handoff::wire::WireRecord for $name {
            fn encode(&self, body: &mut $crate::handoff::frame::Body) {
                $($crate::handoff::wire::Value::put(&self.$field, $tag, body);)*
            }

            fn decode(
                fields: &$crate::handoff::frame::Fields<'_>,
            ) -> Result<Self, $crate::handoff::frame::DecodeError> {
                let known: &[u16] = &[$($tag),*];
                fields.check_critical(known)?;
                Ok(Self { $($field: $crate::handoff::wire::Value::take(fields, $tag)?,)* })
            }

            #[cfg(test)]
            fn sample(random: &mut fastrand::Rng) -> Self {
                Self { $($field: $crate::handoff::wire::Value::sample(random),)* }
            }
        }
    };
}

/// Declares an enum of numbers, or the numbers of an enum of another module: an unknown number is an invalid field.
macro_rules! codes {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$value_doc:meta])* $value:ident = $code:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis enum $name {
            $($(#[$value_doc])* $value = $code,)*
        }

        impl $name {
            /// Every value, in the order of the numbers.
            #[allow(dead_code)] // Only some of these enums are searched by number or name.
            pub(crate) const ALL: &[Self] = &[$(Self::$value),*];
        }

        $crate::handoff::wire::codes! { $name { $($value = $code,)* } }
    };
    ($name:ident { $($value:ident = $code:literal,)* }) => {
        impl $crate::handoff::wire::Value for $name {
            fn put(&self, tag: u16, body: &mut $crate::handoff::frame::Body) {
                let code: u64 = match self {
                    $(Self::$value => $code,)*
                };
                $crate::handoff::wire::Value::put(&code, tag, body);
            }

            fn take(
                fields: &$crate::handoff::frame::Fields<'_>,
                tag: u16,
            ) -> Result<Self, $crate::handoff::frame::DecodeError> {
                let code: u64 = $crate::handoff::wire::Value::take(fields, tag)?;
                match code {
                    $($code => Ok(Self::$value),)*
                    _ => Err($crate::handoff::frame::DecodeError::Invalid(tag)),
                }
            }

            #[cfg(test)]
            fn sample(random: &mut fastrand::Rng) -> Self {
                let all = [$(Self::$value),*];
                all[random.usize(..all.len())]
            }
        }
    };
}

/// Declares the messages of a connection: `Name(Record) = kind` (skipped by a reader that does not support
/// it) or `Name(Record) = kind critical`; `with` names the function that counts the descriptors
/// of a message.
macro_rules! messages {
    ($(#[$doc:meta])* $vis:vis enum $name:ident {
        $($(#[$kind_doc:meta])* $variant:ident($record:ident) = $kind:literal $($critical:ident)?,)*
    } with $descriptors:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $($(#[$kind_doc])* $variant($record),)*
        }

        impl $crate::handoff::wire::Messages for $name {
            fn encode(&self) -> (u16, bool, Vec<u8>) {
                match self {
                    $(Self::$variant(record) => (
                        $kind,
                        !stringify!($($critical)?).is_empty(),
                        $crate::handoff::wire::WireRecord::to_bytes(record),
                    ),)*
                }
            }

            fn decode(
                frame: &$crate::handoff::frame::Frame,
            ) -> Result<Option<Self>, $crate::handoff::frame::DecodeError> {
                match frame.kind {
                    $($kind => Ok(Some(Self::$variant(
                        $crate::handoff::wire::WireRecord::from_bytes(&frame.body)?,
                    ))),)*
                    kind if frame.critical => {
                        Err($crate::handoff::frame::DecodeError::UnknownKind(kind))
                    }
                    _ => Ok(None),
                }
            }

            fn descriptors(&self) -> usize {
                $descriptors(self)
            }

            #[cfg(test)]
            fn samples(random: &mut fastrand::Rng) -> Vec<Self> {
                vec![$(Self::$variant($crate::handoff::wire::WireRecord::sample(random))),*]
            }
        }
    };
}

pub(crate) use {codes, messages, record};

/// The messages of a connection.
pub trait Messages: Sized {
    /// The kind, whether it is critical, and the body.
    fn encode(&self) -> (u16, bool, Vec<u8>);

    /// Descriptors that belong to this message.
    fn descriptors(&self) -> usize;

    /// `None`: an unknown kind that may be skipped.
    fn decode(frame: &crate::handoff::frame::Frame) -> Result<Option<Self>, DecodeError>;

    /// One of each kind, for tests.
    #[cfg(test)]
    fn samples(random: &mut fastrand::Rng) -> Vec<Self>;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn put(&self, tag: u16, body: &mut Body) {
                body.put(tag, &u64::from(*self).to_le_bytes());
            }

            fn take(fields: &Fields<'_>, tag: u16) -> Result<Self, DecodeError> {
                let value = fields.first(tag).ok_or(DecodeError::Missing(tag))?;
                let bytes = value.try_into().map_err(|_| DecodeError::Invalid(tag))?;
                Self::try_from(u64::from_le_bytes(bytes)).map_err(|_| DecodeError::Invalid(tag))
            }

            #[cfg(test)]
            fn sample(random: &mut fastrand::Rng) -> Self {
                random.u64(..) as Self
            }
        }
    )*};
}

number!(u16, u32, u64);

impl Value for bool {
    /// Only `true` is written.
    fn put(&self, tag: u16, body: &mut Body) {
        if *self {
            body.put(tag, &[]);
        }
    }

    fn take(fields: &Fields<'_>, tag: u16) -> Result<Self, DecodeError> {
        Ok(fields.first(tag).is_some())
    }

    #[cfg(test)]
    fn sample(random: &mut fastrand::Rng) -> Self {
        random.bool()
    }
}

impl Value for String {
    fn put(&self, tag: u16, body: &mut Body) {
        body.put(tag, self.as_bytes());
    }

    fn take(fields: &Fields<'_>, tag: u16) -> Result<Self, DecodeError> {
        let value = fields.first(tag).ok_or(DecodeError::Missing(tag))?;
        Self::from_utf8(value.to_vec()).map_err(|_| DecodeError::Invalid(tag))
    }

    #[cfg(test)]
    fn sample(random: &mut fastrand::Rng) -> Self {
        (0..random.usize(..20)).map(|_| random.char(..)).collect()
    }
}

impl Value for Vec<u8> {
    /// An empty one leaves nothing.
    fn put(&self, tag: u16, body: &mut Body) {
        if !self.is_empty() {
            body.put(tag, self);
        }
    }

    fn take(fields: &Fields<'_>, tag: u16) -> Result<Self, DecodeError> {
        Ok(fields.first(tag).unwrap_or_default().to_vec())
    }

    #[cfg(test)]
    fn sample(random: &mut fastrand::Rng) -> Self {
        (0..random.usize(..40)).map(|_| random.u8(..)).collect()
    }
}

impl<T: WireRecord> Value for Vec<T> {
    fn put(&self, tag: u16, body: &mut Body) {
        for record in self {
            body.put(tag, &record.to_bytes());
        }
    }

    fn take(fields: &Fields<'_>, tag: u16) -> Result<Self, DecodeError> {
        fields.each(tag).map(T::from_bytes).collect()
    }

    #[cfg(test)]
    fn sample(random: &mut fastrand::Rng) -> Self {
        (0..random.usize(..4)).map(|_| T::sample(random)).collect()
    }
}

impl<T: Value> Value for Option<T> {
    fn put(&self, tag: u16, body: &mut Body) {
        if let Some(value) = self {
            value.put(tag, body);
        }
    }

    fn take(fields: &Fields<'_>, tag: u16) -> Result<Self, DecodeError> {
        match fields.first(tag) {
            Some(_) => T::take(fields, tag).map(Some),
            None => Ok(None),
        }
    }

    #[cfg(test)]
    fn sample(random: &mut fastrand::Rng) -> Self {
        random.bool().then(|| T::sample(random))
    }
}
