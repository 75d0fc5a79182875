//! A trie of topic levels: all its edges in one hash table.

use crate::level::{Cutter, Key, Kind, Level};
use crate::slab::Slab;
use hashbrown::HashTable;

/// The id of the root, which is nobody's child.
pub(crate) const ROOT: u32 = 0;

/// A place in the trie. Two of them share a cache line when `P` has 12 bytes.
#[repr(align(32))]
pub(crate) struct Node<P> {
    pub parent: u32,
    /// Children in the edge table; a detached child is not counted.
    pub children: u32,
    key: Key,
    pub data: P,
}

impl<P: Default> Default for Node<P> {
    fn default() -> Self {
        Self {
            parent: ROOT,
            children: 0,
            key: Key::FREE,
            data: P::default(),
        }
    }
}

/// Nodes, and the edges that lead from a node and a level's text to a child.
pub(crate) struct Trie<P> {
    nodes: Slab<Node<P>>,
    /// Ids of children, by the hash of parent and level.
    edges: HashTable<u32>,
    /// Texts of levels that do not fit into a key.
    long: Slab<Box<str>>,
    cutter: Cutter,
}

impl<P: Default> Trie<P> {
    pub fn new() -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node {
            key: Key::ROOT,
            ..Node::default()
        });
        Self {
            nodes,
            edges: HashTable::new(),
            long: Slab::new(),
            cutter: Cutter::new(),
        }
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

    /// The child of `parent` by this level.
    #[inline]
    pub fn child(&self, parent: u32, level: &Level<'_>) -> Option<u32> {
        let hash = self.cutter.edge(parent, level.hash);
        let found = match level.key {
            Some(key) => self.edges.find(hash, |&id| {
                let node = &self.nodes[id];
                node.parent == parent && node.key == key
            }),
            None => self.edges.find(hash, |&id| {
                let node = &self.nodes[id];
                node.parent == parent
                    && node
                        .key
                        .long_like(level.hash)
                        .is_some_and(|text| *self.long[text] == *level.text)
            }),
        };
        found.copied()
    }

    /// Adds a child that `parent` does not have yet.
    pub fn add_child(&mut self, parent: u32, level: &Level<'_>) -> u32 {
        let key = match level.key {
            Some(key) => key,
            None => Key::long(self.long.insert(level.text.into()), level.hash),
        };
        if self.edges.len() == self.edges.capacity() {
            self.rebuild_edges();
        }
        let id = self.nodes.insert(Node {
            parent,
            key,
            ..Node::default()
        });
        self.nodes[parent].children += 1;
        let hash = self.cutter.edge(parent, level.hash);
        let (nodes, long, cutter) = (&self.nodes, &self.long, &self.cutter);
        self.edges
            .insert_unique(hash, id, |&id| edge_hash(&nodes[id], long, cutter));
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
        let node = &self.nodes[id];
        let kind = node.key.kind();
        if !matches!(kind, Kind::Plus) {
            let hash = edge_hash(node, &self.long, &self.cutter);
            let parent = node.parent;
            if let Kind::Long(text) = kind {
                self.long.remove(text);
            }
            if let Ok(edge) = self.edges.find_entry(hash, |&other| other == id) {
                edge.remove();
            }
            self.nodes[parent].children -= 1;
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

    /// Makes room for more edges (or sweeps out the traces of removed ones).
    ///
    /// The hash table could grow by itself, but would visit the nodes in the order of hashes, which is one
    /// cache miss for each; this reads them in order.
    fn rebuild_edges(&mut self) {
        let len = self.edges.len();
        self.edges = HashTable::new();
        let mut edges = HashTable::with_capacity(len + len / 2 + 4);
        let hash = |node| edge_hash(node, &self.long, &self.cutter);
        for (id, node) in self.nodes.iter() {
            if matches!(node.key.kind(), Kind::Inline(_) | Kind::Long(_)) {
                edges.insert_unique(hash(node), id, |&id| hash(&self.nodes[id]));
            }
        }
        self.edges = edges;
    }
}

fn edge_hash<P>(node: &Node<P>, long: &Slab<Box<str>>, cutter: &Cutter) -> u64 {
    let level = match node.key.kind() {
        Kind::Long(text) => cutter.hash_long(&long[text]),
        _ => cutter.hash_key(&node.key),
    };
    cutter.edge(node.parent, level)
}
