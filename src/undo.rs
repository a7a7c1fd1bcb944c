//! Collections that can go back to what they were at an earlier point.
//!
//! While points are kept each change is written down with what it undoes: a point costs a number, whatever
//! the size of the collection.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Deref;

/// How far a collection's changes had got.
pub type Point = usize;

pub trait Undo {
    /// This point, to which [`go_back`](Undo::go_back) can return from now on.
    fn point(&mut self) -> Point;

    /// Undoes all that came after the point.
    fn go_back(&mut self, to: Point);

    /// Nobody will go back to any point.
    fn forget_points(&mut self);
}

/// What undoes changes, the latest last; none while no points are kept.
#[derive(Debug)]
struct Log<C>(Option<Vec<C>>);

impl<C> Default for Log<C> {
    fn default() -> Self {
        Log(None)
    }
}

impl<C> Log<C> {
    fn write(&mut self, undoes: impl FnOnce() -> C) {
        if let Some(log) = &mut self.0 {
            log.push(undoes());
        }
    }

    fn point(&mut self) -> Point {
        self.0.get_or_insert_default().len()
    }

    /// The latest change, where it came after the point.
    fn pop_after(&mut self, point: Point) -> Option<C> {
        let log = self.0.as_mut()?;
        match log.len() > point {
            true => log.pop(),
            false => None,
        }
    }
}

/// A value as a whole.
#[derive(Debug, Default)]
pub struct Value<T> {
    value: T,
    log: Log<T>,
}

impl<T> Value<T> {
    pub fn set(&mut self, value: T) {
        let old = std::mem::replace(&mut self.value, value);
        self.log.write(|| old);
    }
}

impl<T> Deref for Value<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Undo for Value<T> {
    fn point(&mut self) -> Point {
        self.log.point()
    }

    fn go_back(&mut self, to: Point) {
        while let Some(old) = self.log.pop_after(to) {
            self.value = old;
        }
    }

    fn forget_points(&mut self) {
        self.log = Log::default();
    }
}

/// As a `Vec`.
#[derive(Debug)]
pub struct List<T> {
    elements: Vec<T>,
    log: Log<ListChange<T>>,
}

#[derive(Debug)]
enum ListChange<T> {
    Pushed,
    /// An element was another one.
    Replaced(usize, T),
    /// Elements are gone from where they were, the first first.
    Removed(Vec<(usize, T)>),
}

impl<T> Default for List<T> {
    fn default() -> Self {
        List {
            elements: vec![],
            log: Log::default(),
        }
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.elements
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.elements.iter()
    }
}

impl<T> Extend<T> for List<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        elements.into_iter().for_each(|element| self.push(element));
    }
}

impl<T: Clone> List<T> {
    /// Changes the element at that place, if there is one.
    pub fn change(&mut self, at: usize, change: impl FnOnce(&mut T)) {
        if let Some(element) = self.elements.get_mut(at) {
            self.log.write(|| ListChange::Replaced(at, element.clone()));
            change(element);
        }
    }

    /// Takes out those that are such, and returns them.
    pub fn take(&mut self, is_such: impl Fn(&T) -> bool) -> Vec<T> {
        if !self.elements.iter().any(&is_such) {
            return vec![];
        }
        let mut taken = vec![];
        let mut left = Vec::with_capacity(self.elements.len());
        for (at, element) in std::mem::take(&mut self.elements).into_iter().enumerate() {
            match is_such(&element) {
                true => taken.push((at, element)),
                false => left.push(element),
            }
        }
        self.elements = left;
        self.log.write(|| ListChange::Removed(taken.clone()));
        taken.into_iter().map(|(_, element)| element).collect()
    }

    pub fn retain(&mut self, is_kept: impl Fn(&T) -> bool) {
        drop(self.take(|element| !is_kept(element)));
    }
}

impl<T> List<T> {
    pub fn push(&mut self, element: T) {
        self.elements.push(element);
        self.log.write(|| ListChange::Pushed);
    }
}

impl<T> Undo for List<T> {
    fn point(&mut self) -> Point {
        self.log.point()
    }

    fn go_back(&mut self, to: Point) {
        while let Some(change) = self.log.pop_after(to) {
            match change {
                ListChange::Pushed => drop(self.elements.pop()),
                ListChange::Replaced(at, old) => {
                    if let Some(element) = self.elements.get_mut(at) {
                        *element = old;
                    }
                }
                ListChange::Removed(removed) => {
                    let mut left = std::mem::take(&mut self.elements).into_iter();
                    for (at, element) in removed {
                        let before = at.saturating_sub(self.elements.len());
                        self.elements.extend(left.by_ref().take(before));
                        self.elements.push(element);
                    }
                    self.elements.extend(left);
                }
            }
        }
    }

    fn forget_points(&mut self) {
        self.log = Log::default();
    }
}

/// As a `HashMap`.
#[derive(Debug)]
pub struct Map<K, V> {
    entries: HashMap<K, V>,
    /// What a key had before, if anything.
    log: Log<(K, Option<V>)>,
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Map {
            entries: HashMap::new(),
            log: Log::default(),
        }
    }
}

impl<K, V> Deref for Map<K, V> {
    type Target = HashMap<K, V>;

    fn deref(&self) -> &HashMap<K, V> {
        &self.entries
    }
}

impl<K: Clone + Eq + Hash, V> Map<K, V> {
    pub fn insert(&mut self, key: K, value: V) {
        let logged = self.log.0.is_some().then(|| key.clone());
        let old = self.entries.insert(key, value);
        if let Some(key) = logged {
            self.log.write(|| (key, old));
        }
    }

    pub fn remove(&mut self, key: &K) {
        if let Some((key, old)) = self.entries.remove_entry(key) {
            self.log.write(|| (key, Some(old)));
        }
    }
}

impl<K: Eq + Hash, V> Undo for Map<K, V> {
    fn point(&mut self) -> Point {
        self.log.point()
    }

    fn go_back(&mut self, to: Point) {
        while let Some((key, old)) = self.log.pop_after(to) {
            match old {
                Some(old) => drop(self.entries.insert(key, old)),
                None => drop(self.entries.remove(&key)),
            }
        }
    }

    fn forget_points(&mut self) {
        self.log = Log::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goes back to every point in turn, after every kind of change, and finds what was there.
    #[test]
    fn what_was_comes_back() {
        let mut list: List<u32> = List::default();
        let mut map: Map<u32, u32> = Map::default();
        let mut value: Value<u32> = Value::default();
        let mut kept = vec![];
        for step in 0..200_u32 {
            let before = (list.to_vec(), map.entries.clone(), *value);
            kept.push((list.point(), map.point(), value.point(), before));
            match step % 7 {
                0 | 1 | 5 => list.extend([step, step + 1]),
                2 => list.change(step as usize / 7, |element| *element += 1000),
                3 => list.retain(|element| element % 5 != step % 5),
                _ => drop(list.take(|element| element % 11 == step % 11)),
            }
            map.insert(step % 13, step);
            map.remove(&(step % 5));
            value.set(step);
        }
        for (in_list, in_map, in_value, before) in kept.into_iter().rev() {
            list.go_back(in_list);
            map.go_back(in_map);
            value.go_back(in_value);
            assert_eq!((list.to_vec(), map.entries.clone(), *value), before);
        }
    }

    #[test]
    fn nothing_is_written_down_where_no_point_is_kept() {
        let mut list = List::default();
        list.push(1);
        list.point();
        list.push(2);
        list.forget_points();
        list.push(3);
        assert!(list.log.0.is_none());
        assert_eq!(list.to_vec(), [1, 2, 3]);
    }
}
