"""Which of fedmed's own models takes which data, for who chooses a pair; others say by themselves what they need."""

TABULAR = ("logistic_regression", "mlp")
IMAGES = ("mnist_cnn", "mcmahan_cnn", "mcmahan_2nn")

MODELS = {
    **dict.fromkeys(TABULAR, "tables: diabetes_ehr, heart_disease, table; arrays with x [rows, columns]"),
    **dict.fromkeys(IMAGES, "images: digits, mnist; arrays with x [rows, height, width, channels]"),
}
"""A model's name to the data that it takes."""

DATA = {
    **dict.fromkeys(("diabetes_ehr", "heart_disease", "table"), f"models {', '.join(TABULAR)}, or your own"),
    **dict.fromkeys(("digits", "mnist"), f"models {', '.join(IMAGES)}, or your own"),
    "arrays": f"by the shape of x: columns as {TABULAR[0]}, images as {IMAGES[0]}; several inputs, a model of your own",
}
"""A data set's name to the models that take it."""
