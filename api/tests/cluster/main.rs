//! The API over a whole cluster in this process, asked over a socket.

mod hostile;
mod reports;
mod site;
mod uploads;
mod wordcount;
mod writes;
