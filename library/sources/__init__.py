"""Where data and weights come from, and how files become parts of a data set: archives, tables, folders of pictures."""
