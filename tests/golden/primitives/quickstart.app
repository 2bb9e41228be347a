=== CoreEtlJob/logistics/clicks-per-store
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "logistics",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "logistics",
      "dcp/execution": "a1",
      "dcp/workload": "clicks-per-store",
      "tier": "gold"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "pyFiles": "local:///opt/dcp/job/main.py",
    "driverArgs": [
      "/opt/dcp/job/job.json"
    ],
    "sparkConf": {
      "spark.dcp.modules": "sql-kafka-0-10",
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "2g",
      "spark.eventLog.compress": "false",
      "spark.eventLog.logStageExecutorMetrics": "true",
      "spark.eventLog.rolling.enabled": "true",
      "spark.eventLog.rolling.maxFileSize": "16m",
      "spark.executor.cores": "2",
      "spark.executor.instances": "2",
      "spark.executor.memory": "4g",
      "spark.executor.metrics.pollingInterval": "1s",
      "spark.kubernetes.container.image": "spark-platform:4.1-latest",
      "spark.sql.shuffle.partitions": "8",
      "spark.sql.streaming.metricsEnabled": "true"
    },
    "deploymentMode": "ClusterMode",
    "applicationTolerations": {
      "restartConfig": {
        "restartPolicy": "Never"
      },
      "applicationTimeoutConfig": {
        "driverStartTimeoutMillis": 900000,
        "forceTerminationGracePeriodMillis": 120000
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "clicks-per-store",
            "tier": "gold"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark",
              "volumeMounts": [
                {
                  "mountPath": "/opt/dcp/job",
                  "name": "dcp-job",
                  "readOnly": true
                }
              ]
            }
          ],
          "volumes": [
            {
              "configMap": {
                "name": "dcp-a1-1-job"
              },
              "name": "dcp-job"
            }
          ]
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "clicks-per-store",
            "tier": "gold"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    },
    "configMapSpecs": [
      {
        "name": "dcp-a1-1-job",
        "data": {
          "job.json": "{\"checkpoint\":\"/tmp/dcp-quickstart/checkpoints/clicks-per-store\",\"name\":\"clicks-per-store\",\"stream\":{\"outputMode\":\"append\",\"query\":\"SELECT window(c.ts, '5 minutes') AS w, s.name, count(*) AS n\\nFROM clicks c JOIN stores s ON c.store = s.id\\nWHERE NOT c.bot\\nGROUP BY window(c.ts, '5 minutes'), s.name\\n\",\"sink\":{\"table\":\"lake.mart.clicks_per_store\"},\"sources\":{\"clicks\":{\"kafka\":{\"failOnDataLoss\":true,\"format\":\"json\",\"schema\":[{\"name\":\"store\",\"type\":\"string\"},{\"name\":\"bot\",\"type\":\"boolean\"},{\"name\":\"ts\",\"type\":\"timestamp\"}],\"servers\":\"localhost:9092\",\"startingOffsets\":\"earliest\",\"static\":false,\"topic\":\"clicks\"}},\"stores\":{\"table\":\"lake.ref.stores\"}},\"state\":{\"partitions\":8},\"watermark\":[{\"column\":\"ts\",\"delay\":\"10m\",\"source\":\"clicks\"}]},\"trigger\":{\"every\":\"30s\"}}"
        }
      }
    ]
  }
}
=== CoreEtlJob/logistics/orders-daily
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "logistics",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "logistics",
      "dcp/execution": "a1",
      "dcp/workload": "orders-daily",
      "tier": "gold"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "pyFiles": "local:///opt/dcp/job/main.py",
    "driverArgs": [
      "/opt/dcp/job/job.json"
    ],
    "sparkConf": {
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "1g",
      "spark.eventLog.logStageExecutorMetrics": "true",
      "spark.executor.cores": "2",
      "spark.executor.instances": "1",
      "spark.executor.memory": "2g",
      "spark.executor.metrics.pollingInterval": "1s",
      "spark.kubernetes.container.image": "spark-platform:4.1-latest"
    },
    "deploymentMode": "ClusterMode",
    "applicationTolerations": {
      "restartConfig": {
        "restartPolicy": "Never"
      },
      "applicationTimeoutConfig": {
        "driverStartTimeoutMillis": 900000,
        "forceTerminationGracePeriodMillis": 60000
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "orders-daily",
            "tier": "gold"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark",
              "volumeMounts": [
                {
                  "mountPath": "/opt/dcp/job",
                  "name": "dcp-job",
                  "readOnly": true
                }
              ]
            }
          ],
          "volumes": [
            {
              "configMap": {
                "name": "dcp-a1-1-job"
              },
              "name": "dcp-job"
            }
          ]
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "orders-daily",
            "tier": "gold"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    },
    "configMapSpecs": [
      {
        "name": "dcp-a1-1-job",
        "data": {
          "job.json": "{\"parameters\":{\"day\":{\"type\":\"date\",\"value\":\"2026-01-31\"}},\"results\":null,\"statements\":[\"INSERT OVERWRITE lake.mart.orders PARTITION (day)\\nSELECT o.id, o.customer, sum(l.price * l.quantity) AS amount, o.day\\nFROM lake.raw.orders o\\nJOIN lake.raw.order_lines l ON l.order_id = o.id\\nWHERE o.day = :day\\nGROUP BY o.id, o.customer, o.day\"]}"
        }
      }
    ]
  }
}
=== CoreEtlJob/marketing/customer-segments
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "marketing",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "marketing",
      "dcp/execution": "a1",
      "dcp/workload": "customer-segments"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "pyFiles": "jobs/segments.py",
    "driverArgs": [
      "--day",
      "2026-01-31",
      "--segments",
      "5"
    ],
    "sparkConf": {
      "spark.dcp.python.packages": "[\"pandas==2.3.3\"]",
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "1g",
      "spark.executor.cores": "2",
      "spark.executor.instances": "2",
      "spark.executor.memory": "4g",
      "spark.kubernetes.container.image": "spark-platform:4.1-latest"
    },
    "deploymentMode": "ClusterMode",
    "applicationTolerations": {
      "restartConfig": {
        "restartPolicy": "Never"
      },
      "applicationTimeoutConfig": {
        "driverStartTimeoutMillis": 900000,
        "forceTerminationGracePeriodMillis": 60000
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "marketing",
            "dcp/execution": "a1",
            "dcp/workload": "customer-segments"
          }
        },
        "spec": {
          "containers": [
            {
              "env": [
                {
                  "name": "API_KEY",
                  "valueFrom": {
                    "secretKeyRef": {
                      "key": "key",
                      "name": "segments-api"
                    }
                  }
                },
                {
                  "name": "LOG_LEVEL",
                  "value": "info"
                }
              ],
              "name": "spark"
            }
          ],
          "serviceAccountName": "spark"
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "marketing",
            "dcp/execution": "a1",
            "dcp/workload": "customer-segments"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ],
          "tolerations": [
            {
              "effect": "NoSchedule",
              "key": "spot",
              "operator": "Exists"
            }
          ]
        }
      }
    }
  }
}
=== CoreEtlJob/sandbox/pi
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "sandbox",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "sandbox",
      "dcp/execution": "a1",
      "dcp/workload": "pi"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "mainClass": "org.apache.spark.examples.SparkPi",
    "jars": "local:///opt/spark/examples/jars/spark-examples.jar",
    "driverArgs": [
      "10"
    ],
    "sparkConf": {
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "1g",
      "spark.executor.cores": "1",
      "spark.executor.instances": "1",
      "spark.executor.memory": "1g",
      "spark.kubernetes.container.image": "spark-platform:4.1-latest"
    },
    "deploymentMode": "ClusterMode",
    "applicationTolerations": {
      "restartConfig": {
        "restartPolicy": "Never"
      },
      "applicationTimeoutConfig": {
        "driverStartTimeoutMillis": 900000,
        "forceTerminationGracePeriodMillis": 60000
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "sandbox",
            "dcp/execution": "a1",
            "dcp/workload": "pi"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "sandbox",
            "dcp/execution": "a1",
            "dcp/workload": "pi"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    }
  }
}
