"""The nouns of the product; nothing here reads or writes."""
