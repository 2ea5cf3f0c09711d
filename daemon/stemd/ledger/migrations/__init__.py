"""One module a step; peewee's runner applies them in the order of their names."""
