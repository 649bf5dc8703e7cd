mod fixture;
mod layout_of_files;
mod model;
mod race;
mod steps;
