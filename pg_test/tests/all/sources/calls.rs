//! Which function calls which, as far as names tell it: a call is held to be of every function that it may
//! be of, save that methods are looked for on the caller's own type alone.

use std::collections::{HashMap, HashSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// What calls itself only after this has answered may do so.
const CHECK: &str = "check_stack";

pub struct Function {
    /// The file's path, the type's name where it is a method, and its own.
    file: String,
    of: Option<String>,
    name: String,
    calls: Vec<Callee>,
}

enum Callee {
    /// By its name, and what stands before that.
    Path {
        before: Option<String>,
        name: String,
    },
    /// On a value of some type; `on_own`: it may be of the caller's own.
    Method { name: String, on_own: bool },
}

impl Function {
    pub fn shown(&self) -> String {
        match &self.of {
            Some(of) => format!("{}: {of}::{}", self.file, self.name),
            None => format!("{}: {}", self.file, self.name),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it asks first if there is stack left.
    pub fn checks_stack(&self) -> bool {
        let name = |callee: &Callee| match callee {
            Callee::Path { name, .. } | Callee::Method { name, .. } => name == CHECK,
        };
        self.calls.iter().any(name)
    }
}

/// The functions of all files, and for each the places of those that it may call.
pub fn graph(files: &[(String, syn::File)]) -> (Vec<Function>, Vec<Vec<usize>>) {
    let mut functions = vec![];
    let mut imported: HashMap<&str, HashSet<String>> = HashMap::new();
    let mut fields = HashMap::new();
    for (_, file) in files {
        Fields(&mut fields).visit_file(file);
    }
    for (name, file) in files {
        let mut reader = Reader {
            file: name,
            fields: &fields,
            functions: &mut functions,
            imported: HashSet::new(),
            of: None,
        };
        reader.visit_file(file);
        let names = reader.imported;
        imported.insert(name, names);
    }
    let mut named: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, function) in functions.iter().enumerate() {
        named.entry(&function.name).or_default().push(i);
    }
    let edges = functions
        .iter()
        .map(|caller| {
            let mut found = vec![];
            for callee in &caller.calls {
                let (Callee::Path { name, .. } | Callee::Method { name, .. }) = callee;
                for i in named.get(name.as_str()).into_iter().flatten() {
                    let is_meant = may_be(
                        callee,
                        caller,
                        &functions[*i],
                        &imported[caller.file.as_str()],
                    );
                    if is_meant && !found.contains(i) {
                        found.push(*i);
                    }
                }
            }
            found
        })
        .collect();
    (functions, edges)
}

fn may_be(
    callee: &Callee,
    caller: &Function,
    function: &Function,
    imported: &HashSet<String>,
) -> bool {
    let same_file = function.file == caller.file;
    match callee {
        Callee::Method { on_own, .. } => {
            *on_own && function.of.is_some() && function.of == caller.of
        }
        Callee::Path { before: None, name } => {
            function.of.is_none() && (same_file || imported.contains(name))
        }
        Callee::Path {
            before: Some(before),
            ..
        } => match &function.of {
            Some(of) => of == before || before == "Self" && function.of == caller.of,
            None => {
                let parts: Vec<&str> = function.file.trim_end_matches(".rs").split('/').collect();
                let module = match parts[..] {
                    [.., folder, "mod"] => folder,
                    [.., file] => file,
                    [] => "",
                };
                module == before || before == "super" || before == "self" && same_file
            }
        },
    }
}

/// The types of fields, by that of the struct and their names, as words.
struct Fields<'a>(&'a mut HashMap<(String, String), HashSet<String>>);

impl<'ast> Visit<'ast> for Fields<'_> {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        for (i, field) in item.fields.iter().enumerate() {
            let name = match &field.ident {
                Some(name) => name.to_string(),
                None => i.to_string(),
            };
            let mut words = Words::default();
            words.visit_type(&field.ty);
            self.0.insert((item.ident.to_string(), name), words.0);
        }
    }
}

/// The names in a type.
#[derive(Default)]
pub struct Words(pub HashSet<String>);

impl<'ast> Visit<'ast> for Words {
    fn visit_ident(&mut self, name: &'ast proc_macro2::Ident) {
        self.0.insert(name.to_string());
    }
}

/// Reads the functions of one file.
struct Reader<'a> {
    file: &'a str,
    fields: &'a HashMap<(String, String), HashSet<String>>,
    functions: &'a mut Vec<Function>,
    imported: HashSet<String>,
    of: Option<String>,
}

impl Reader<'_> {
    fn add(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let mut bound = Bound::default();
        bound.visit_signature(signature);
        bound.visit_block(body);
        let mut calls = Calls {
            fields: self.fields,
            of: self.of.as_deref(),
            bound: bound.0,
            found: vec![],
        };
        calls.visit_block(body);
        let calls = calls.found;
        self.functions.push(Function {
            file: self.file.to_owned(),
            of: self.of.clone(),
            name: signature.ident.to_string(),
            calls,
        });
        // What is declared within it.
        visit::visit_block(self, body);
    }
}

/// Whether it is there for tests alone.
pub fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_use_name(&mut self, used: &'ast syn::UseName) {
        self.imported.insert(used.ident.to_string());
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let before = self.of.take();
        if let syn::Type::Path(path) = &*item.self_ty {
            self.of = path.path.segments.last().map(|s| s.ident.to_string());
        }
        visit::visit_item_impl(self, item);
        self.of = before;
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        let before = self.of.replace(item.ident.to_string());
        visit::visit_item_trait(self, item);
        self.of = before;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let before = self.of.take();
        self.add(&item.sig, &item.block);
        self.of = before;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.add(&item.sig, body);
        }
    }
}

/// The names that a function gives to values of its own.
#[derive(Default)]
struct Bound(HashSet<String>);

impl<'ast> Visit<'ast> for Bound {
    fn visit_item(&mut self, _: &'ast syn::Item) {}

    fn visit_pat_ident(&mut self, name: &'ast syn::PatIdent) {
        self.0.insert(name.ident.to_string());
        visit::visit_pat_ident(self, name);
    }
}

/// The calls in one function, closures included.
struct Calls<'a> {
    fields: &'a HashMap<(String, String), HashSet<String>>,
    of: Option<&'a str>,
    bound: HashSet<String>,
    found: Vec<Callee>,
}

impl Calls<'_> {
    /// Whether a value may be of the caller's own type: a field of its own is what it is declared as.
    fn may_be_own(&self, receiver: &syn::Expr) -> bool {
        let Some(of) = self.of else {
            return false;
        };
        let syn::Expr::Field(field) = receiver else {
            return true;
        };
        let is_self = matches!(&*field.base, syn::Expr::Path(path) if path.path.is_ident("self"));
        if !is_self {
            return true;
        }
        let name = match &field.member {
            syn::Member::Named(name) => name.to_string(),
            syn::Member::Unnamed(index) => index.index.to_string(),
        };
        let declared = self.fields.get(&(of.to_owned(), name));
        declared.is_none_or(|words| words.contains(of))
    }

    /// Of a macro's arguments, of which no grammar is known: a name before parentheses.
    fn read_tokens(&mut self, tokens: TokenStream) {
        let mut trees = tokens.into_iter().peekable();
        let (mut after_dot, mut before) = (false, None);
        while let Some(tree) = trees.next() {
            match tree {
                TokenTree::Group(group) => {
                    self.read_tokens(group.stream());
                    (after_dot, before) = (false, None);
                }
                TokenTree::Ident(name) => {
                    let name = name.to_string();
                    let is_called = matches!(trees.peek(), Some(TokenTree::Group(group))
                        if group.delimiter() == proc_macro2::Delimiter::Parenthesis);
                    if is_called && (after_dot || before.is_some() || !self.bound.contains(&name)) {
                        self.found.push(match after_dot {
                            true => Callee::Method { name, on_own: true },
                            false => Callee::Path {
                                before: before.take(),
                                name,
                            },
                        });
                    } else {
                        before = Some(name);
                    }
                    after_dot = false;
                }
                TokenTree::Punct(point) => {
                    after_dot = point.as_char() == '.';
                    if point.as_char() != ':' {
                        before = None;
                    }
                }
                TokenTree::Literal(_) => (after_dot, before) = (false, None),
            }
        }
    }
}

impl<'ast> Visit<'ast> for Calls<'_> {
    /// It is read by itself.
    fn visit_item(&mut self, _: &'ast syn::Item) {}

    /// A function that is called, or handed on.
    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let mut names = path.path.segments.iter().rev().map(|s| s.ident.to_string());
        if let Some(name) = names.next() {
            let before = names.next();
            if before.is_some() || !self.bound.contains(&name) {
                self.found.push(Callee::Path { before, name });
            }
        }
        visit::visit_expr_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.found.push(Callee::Method {
            name: call.method.to_string(),
            on_own: self.may_be_own(&call.receiver),
        });
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, of: &'ast syn::Macro) {
        self.read_tokens(of.tokens.clone());
    }
}
