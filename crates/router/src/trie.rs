//! A trie of topic levels.
//!
//! The only child of a node is found in the node; all other edges are in one hash table. So a node is small, a
//! step down costs the same whether there are two children or a million, and a tail of levels that leads to one
//! filter is read from nodes that were made one after the other, which is to say from one or two cache lines.

use crate::edges::Edges;
use crate::level::{Cutter, Key, Kind, Level};
use crate::slab::Slab;

/// The id of the root, which is nobody's child.
pub(crate) const ROOT: u32 = 0;

/// What a kind of trie keeps in its nodes.
pub(crate) trait Data: Default {
    /// A type with the alignment that the nodes are to have.
    type Align;
}

/// A place in the trie: 20 bytes and the data.
pub(crate) struct Node<P: Data> {
    pub parent: u32,
    children: Children,
    key: Key,
    pub data: P,
    _align: [P::Align; 0],
}

/// How to find the children of a node, apart from the `+` of a filter.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Children(u32);

impl Children {
    const ONLY: u32 = 1 << 31;

    fn only(id: u32) -> Self {
        debug_assert!(id < Self::ONLY);
        Self(id | Self::ONLY)
    }

    #[inline]
    fn form(self) -> Form {
        match self.0 {
            0 => Form::None,
            n if n & Self::ONLY != 0 => Form::Only(n & !Self::ONLY),
            n => Form::Table(n),
        }
    }
}

enum Form {
    None,
    /// The id of the only child, which is not in the table.
    Only(u32),
    /// So many children, all in the table.
    Table(u32),
}

impl<P: Data> Node<P> {
    #[inline]
    pub fn has_children(&self) -> bool {
        self.children.0 != 0
    }
}

impl<P: Data> Default for Node<P> {
    fn default() -> Self {
        Self {
            parent: ROOT,
            children: Children::default(),
            key: Key::FREE,
            data: P::default(),
            _align: [],
        }
    }
}

/// Nodes, and the edges that lead from a node and a level's text to a child.
pub(crate) struct Trie<P: Data> {
    nodes: Slab<Node<P>>,
    edges: Edges,
    /// Texts of levels that do not fit into a key.
    long: Slab<Box<str>>,
    cutter: Cutter,
}

impl<P: Data> Trie<P> {
    pub fn new(seed: u64) -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node {
            key: Key::ROOT,
            ..Node::default()
        });
        Self {
            nodes,
            edges: Edges::new(),
            long: Slab::new(),
            cutter: Cutter::new(seed),
        }
    }

    /// Bytes held, without what the data of nodes hold elsewhere.
    pub fn memory(&self) -> usize {
        let texts = self.long.iter().map(|(_, text)| text.len());
        self.nodes.memory() + self.edges.memory() + self.long.memory() + texts.sum::<usize>()
    }

    #[inline]
    pub fn cutter(&self) -> &Cutter {
        &self.cutter
    }

    #[inline]
    pub fn cut<'a>(&self, text: &'a str, start: usize) -> Level<'a> {
        self.cutter.cut(text, start)
    }

    #[inline]
    pub fn node(&self, id: u32) -> &Node<P> {
        &self.nodes[id]
    }

    #[inline]
    pub fn data_mut(&mut self, id: u32) -> &mut P {
        &mut self.nodes[id].data
    }

    /// All nodes in use, the root first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Node<P>)> {
        self.nodes.iter().filter(|(_, node)| node.key != Key::FREE)
    }

    /// The nodes in use among the `most` places from `from` on.
    pub fn some(&self, from: u32, most: usize) -> impl Iterator<Item = (u32, &Node<P>)> {
        let places = self.nodes.iter_from(from).take(most);
        places.filter(|(_, node)| node.key != Key::FREE)
    }

    /// No node is at this place or behind it.
    pub fn ends_before(&self, place: u32) -> bool {
        self.nodes.iter_from(place).next().is_none()
    }

    /// The child of `parent` by this level.
    #[inline]
    pub fn child(&self, parent: u32, level: &Level<'_>) -> Option<u32> {
        self.child_of(parent, &self.nodes[parent], level)
    }

    /// The same, for a caller that has the parent's node already.
    #[inline]
    pub fn child_of(&self, parent: u32, node: &Node<P>, level: &Level<'_>) -> Option<u32> {
        match node.children.form() {
            Form::None => None,
            Form::Only(id) => self.leads(&self.nodes[id], level).then_some(id),
            Form::Table(_) => self.edges.find(self.cutter.edge(parent, level.hash), |id| {
                let node = &self.nodes[id];
                node.parent == parent && self.leads(node, level)
            }),
        }
    }

    /// Whether this level leads to the node.
    #[inline]
    fn leads(&self, node: &Node<P>, level: &Level<'_>) -> bool {
        match level.key {
            Some(key) => node.key == key,
            None => node
                .key
                .long_like(level.hash)
                .is_some_and(|text| *self.long[text] == *level.text()),
        }
    }

    /// Adds a child that `parent` does not have yet.
    pub fn add_child(&mut self, parent: u32, level: &Level<'_>) -> u32 {
        let key = match level.key {
            Some(key) => key,
            None => Key::long(self.long.insert(level.text().into()), level.hash),
        };
        let id = self.nodes.insert(Node {
            parent,
            key,
            ..Node::default()
        });
        self.nodes[parent].children = match self.nodes[parent].children.form() {
            Form::None => Children::only(id),
            Form::Only(first) => {
                self.edges.insert(self.edge_hash(first), first);
                self.edges.insert(self.cutter.edge(parent, level.hash), id);
                Children(2)
            }
            Form::Table(count) => {
                self.edges.insert(self.cutter.edge(parent, level.hash), id);
                Children(count + 1)
            }
        };
        id
    }

    /// Adds the `+` child of a filter's node; the caller keeps its id.
    pub fn add_plus(&mut self, parent: u32) -> u32 {
        self.nodes.insert(Node {
            parent,
            key: Key::PLUS,
            ..Node::default()
        })
    }

    /// Removes a node without children, and its edge.
    pub fn remove(&mut self, id: u32) {
        let Node { parent, key, .. } = self.nodes[id];
        let kind = key.kind();
        if !matches!(kind, Kind::Plus) {
            self.nodes[parent].children = match self.nodes[parent].children.form() {
                Form::None | Form::Only(_) => Children::default(),
                Form::Table(count) => {
                    self.edges.remove(self.edge_hash(id), id);
                    // The last one stays in the table: who it is could not be told without a search.
                    Children(count - 1)
                }
            };
        }
        if let Kind::Long(text) = kind {
            self.long.remove(text);
        }
        self.nodes.remove(id);
    }

    /// The text of the level that leads to this node.
    pub fn level_text(&self, id: u32) -> &str {
        match self.nodes[id].key.kind() {
            Kind::Inline(text) => text,
            Kind::Long(text) => &self.long[text],
            Kind::Plus => "+",
            Kind::Nothing => "",
        }
    }

    /// Writes the whole path of a node over `path`.
    pub fn path(&self, id: u32, path: &mut String) {
        let mut ids = Vec::new();
        let mut at = id;
        while at != ROOT {
            ids.push(at);
            at = self.nodes[at].parent;
        }
        path.clear();
        for (n, id) in ids.into_iter().rev().enumerate() {
            if n > 0 {
                path.push('/');
            }
            path.push_str(self.level_text(id));
        }
    }

    fn edge_hash(&self, id: u32) -> u64 {
        let node = &self.nodes[id];
        let level = match node.key.kind() {
            Kind::Long(text) => self.cutter.hash_long(&self.long[text]),
            _ => self.cutter.hash_key(&node.key),
        };
        self.cutter.edge(node.parent, level)
    }
}
