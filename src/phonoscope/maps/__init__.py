"""Maps of one RVQ layer's codes by t-SNE, with every frame at its code's place."""
