//! Values of which a recording has many that are equal. Those of one section are one object.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::hash::Hash;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that others may hold too; whoever changes it has a copy of its own from then on. It compares, prints and is written as
/// the value.
#[derive(Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shared<T>(Arc<T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<'a, T> IntoIterator for &'a Shared<T>
where
    &'a T: IntoIterator,
{
    type Item = <&'a T as IntoIterator>::Item;
    type IntoIter = <&'a T as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        (&**self).into_iter()
    }
}

impl<T> Borrow<T> for Shared<T> {
    fn borrow(&self) -> &T {
        self
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<T: fmt::Display> fmt::Display for Shared<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        T::serialize(self, to)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::deserialize(from).map(Self::from)
    }
}

impl<T: JsonSchema> JsonSchema for Shared<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Whether a list has nothing in it.
pub(super) fn is_empty<T>(list: &Shared<Vec<T>>) -> bool {
    list.is_empty()
}

/// What was made of a key once is there for all others that are equal.
#[derive(Debug)]
pub(super) struct Once<K, T>(FxHashMap<K, Shared<T>>);

impl<K, T> Default for Once<K, T> {
    fn default() -> Self {
        Self(FxHashMap::default())
    }
}

impl<K: Eq + Hash, T> Once<K, T> {
    /// What was made of this key, or is made of it now.
    pub(super) fn of(&mut self, key: K, make: impl FnOnce(&K) -> T) -> Shared<T> {
        if let Some(known) = self.0.get(&key) {
            return known.clone();
        }
        let made = Shared::from(make(&key));
        self.0.insert(key, made.clone());
        made
    }
}

/// Of values that are equal, the first stands for all.
#[derive(Debug)]
pub(super) struct Same<T>(FxHashSet<Shared<T>>);

impl<T> Default for Same<T> {
    fn default() -> Self {
        Self(FxHashSet::default())
    }
}

impl<T: Eq + Hash + Clone> Same<T> {
    /// This value, or the one before it that is equal.
    pub(super) fn of(&mut self, value: &T) -> Shared<T> {
        if let Some(known) = self.0.get(value) {
            return known.clone();
        }
        let kept = Shared::from(value.clone()); // which has no room to grow
        self.0.insert(kept.clone());
        kept
    }
}
