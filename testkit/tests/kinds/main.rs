//! What must hold of every kind, here of `sales`, `wordcount` and `join`: the laws of partials, the same bytes whatever happens,
//! a reducer that can be killed.

mod ends;
mod join;
mod laws;
mod reducer;
mod requests;
mod sameness;
mod upgrade;
