//! What must hold of every kind, here of `sales` and `wordcount`: the laws of partials, the same bytes whatever happens,
//! a reducer that can be killed.

mod ends;
mod laws;
mod reducer;
mod requests;
mod sameness;
mod upgrade;
