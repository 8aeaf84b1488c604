"""What the steps of the check do: one function each, in processes of their own."""
