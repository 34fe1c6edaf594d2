//! Tensors, a reverse-mode tape and every kernel of gareum.
