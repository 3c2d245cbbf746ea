"""The page that shows the features of a site."""
