=== CoreEtlJob/finance/program
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "finance",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "finance",
      "dcp/execution": "a1",
      "dcp/workload": "program"
    },
    "annotations": {
      "note": "{{ ds }}",
      "yunikorn.apache.org/app-id": "{{APP_ID}}"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "21"
    },
    "mainClass": "com.example.Main",
    "jars": "lib/app.jar",
    "files": "conf/app.conf",
    "driverArgs": [
      "--day=2026-01-31",
      "--rate",
      "1.10",
      "--flag",
      "true",
      "${not.a.reference}",
      "0x1F"
    ],
    "sparkConf": {
      "spark.archives": "s3://lake/models.zip#models",
      "spark.dcp.configMap": "spark-conf",
      "spark.dcp.driver.disruptionBudget": "true",
      "spark.dcp.driver.memoryLimit": "6g",
      "spark.dcp.executor.memoryLimit": "9g",
      "spark.dcp.log4j2": "rootLogger.level = warn\nrootLogger.appenderRef.console.ref = console\nappender.console.type = Console\nappender.console.name = console\nappender.console.target = SYSTEM_ERR\nappender.console.layout.type = JsonTemplateLayout\nappender.console.layout.eventTemplate = {\"ts\":{\"$resolver\":\"timestamp\"},\"level\":{\"$resolver\":\"level\",\"field\":\"name\"},\"logger\":{\"$resolver\":\"logger\",\"field\":\"name\"},\"msg\":{\"$resolver\":\"message\",\"stringified\":true},\"context\":{\"$resolver\":\"mdc\"},\"exception\":{\"$resolver\":\"exception\",\"field\":\"stackTrace\",\"stackTrace\":{\"stringified\":true}}}\nappender.console.layout.maxStringLength = 262144\nlogger.l0.name = com.example.orders\nlogger.l0.level = debug\nlogger.l1.name = org.apache.hadoop\nlogger.l1.level = off\nlogger.l2.name = org.apache.hadoop.hive.metastore.RetryingHMSHandler\nlogger.l2.level = fatal\nlogger.l3.name = org.apache.hadoop.hive.ql.exec.FunctionRegistry\nlogger.l3.level = error\nlogger.l4.name = org.apache.parquet\nlogger.l4.level = error\nlogger.l5.name = org.apache.spark.sql.connect.service.SparkConnectServer\nlogger.l5.level = info\nlogger.l6.name = org.apache.spark.util.Utils\nlogger.l6.level = info\nlogger.l7.name = org.sparkproject.jetty\nlogger.l7.level = warn\nlogger.l8.name = parquet\nlogger.l8.level = error\n",
      "spark.driver.cores": "2",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError -XX:+UseZGC",
      "spark.driver.memory": "2g",
      "spark.driver.memoryOverhead": "512m",
      "spark.dynamicAllocation.enabled": "true",
      "spark.dynamicAllocation.initialExecutors": "2",
      "spark.dynamicAllocation.maxExecutors": "20",
      "spark.dynamicAllocation.minExecutors": "0",
      "spark.dynamicAllocation.shuffleTracking.enabled": "true",
      "spark.executor.cores": "4",
      "spark.executor.memory": "8g",
      "spark.hadoop.fs.s3a.endpoint": "https://s3.example.com",
      "spark.hadoop.fs.s3a.secret.key": "${secret.s3/secret-key}",
      "spark.jars": "lib/other.jar",
      "spark.jars.excludes": "org.slf4j:slf4j-log4j12",
      "spark.jars.packages": "org.postgresql:postgresql:42.7.4",
      "spark.jars.repositories": "https://maven.example.com/releases",
      "spark.kubernetes.container.image": "registry.example.com/finance:1",
      "spark.kubernetes.container.image.pullPolicy": "IfNotPresent",
      "spark.kubernetes.container.image.pullSecrets": "registry",
      "spark.kubernetes.driver.annotation.yunikorn.apache.org/app-id": "{{APP_ID}}",
      "spark.kubernetes.driver.container.image": "registry.example.com/driver:1",
      "spark.kubernetes.driver.limit.cores": "2",
      "spark.kubernetes.driver.request.cores": "500m",
      "spark.kubernetes.executor.annotation.note": "executor {{EXECUTOR_ID}} of {{APP_ID}}",
      "spark.kubernetes.executor.annotation.yunikorn.apache.org/app-id": "{{APP_ID}}",
      "spark.kubernetes.executor.volumes.persistentVolumeClaim.spark-local-dir-1.mount.path": "/scratch",
      "spark.kubernetes.executor.volumes.persistentVolumeClaim.spark-local-dir-1.options.claimName": "OnDemand",
      "spark.kubernetes.executor.volumes.persistentVolumeClaim.spark-local-dir-1.options.sizeLimit": "102400Mi",
      "spark.kubernetes.executor.volumes.persistentVolumeClaim.spark-local-dir-1.options.storageClass": "fast",
      "spark.kubernetes.hadoop.configMapName": "hadoop-conf",
      "spark.locality.wait": "3",
      "spark.speculation": "true",
      "spark.sql.session.timeZone": "UTC"
    },
    "deploymentMode": "ClusterMode",
    "applicationTolerations": {
      "restartConfig": {
        "restartPolicy": "Never"
      },
      "applicationTimeoutConfig": {
        "driverStartTimeoutMillis": 1200000,
        "forceTerminationGracePeriodMillis": 30000
      },
      "instanceConfig": {
        "initExecutors": 2,
        "minExecutors": 0,
        "maxExecutors": 20
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "annotations": {
            "c": "d",
            "note": "{{ ds }}"
          },
          "labels": {
            "a": "b",
            "dcp/attempt": "1",
            "dcp/domain": "finance",
            "dcp/execution": "a1",
            "dcp/workload": "program"
          }
        },
        "spec": {
          "affinity": {
            "nodeAffinity": {
              "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": []
              }
            }
          },
          "containers": [
            {
              "env": [
                {
                  "name": "IP",
                  "valueFrom": {
                    "fieldRef": {
                      "fieldPath": "status.podIP"
                    }
                  }
                },
                {
                  "name": "MAP",
                  "valueFrom": {
                    "configMapKeyRef": {
                      "key": "level",
                      "name": "app"
                    }
                  }
                },
                {
                  "name": "PLAIN",
                  "value": "1.0"
                },
                {
                  "name": "SECRET",
                  "valueFrom": {
                    "secretKeyRef": {
                      "key": "password",
                      "name": "db"
                    }
                  }
                },
                {
                  "name": "GOOGLE_APPLICATION_CREDENTIALS",
                  "value": "/etc/gcp/key.json"
                }
              ],
              "envFrom": [
                {
                  "secretRef": {
                    "name": "all"
                  }
                },
                {
                  "configMapRef": {
                    "name": "more"
                  }
                }
              ],
              "name": "spark",
              "resources": {
                "limits": {
                  "ephemeral-storage": "10240Mi",
                  "nvidia.com/gpu": "1"
                },
                "requests": {
                  "ephemeral-storage": "10240Mi",
                  "nvidia.com/gpu": "1"
                }
              },
              "volumeMounts": [
                {
                  "mountPath": "/scratch",
                  "name": "spark-local-dir-1",
                  "readOnly": false
                },
                {
                  "mountPath": "/etc/gcp",
                  "name": "dcp-secret-0",
                  "readOnly": true
                },
                {
                  "mountPath": "/etc/log4j",
                  "name": "dcp-config-0",
                  "readOnly": true
                }
              ]
            }
          ],
          "hostNetwork": false,
          "nodeSelector": {
            "pool": "gold"
          },
          "priorityClassName": "high",
          "serviceAccountName": "spark",
          "tolerations": [
            {
              "effect": "NoExecute",
              "key": "spot",
              "operator": "Exists",
              "tolerationSeconds": 300
            }
          ],
          "volumes": [
            {
              "emptyDir": {
                "sizeLimit": "10Gi"
              },
              "name": "spark-local-dir-1"
            },
            {
              "name": "dcp-secret-0",
              "secret": {
                "secretName": "gcp"
              }
            },
            {
              "configMap": {
                "name": "log4j"
              },
              "name": "dcp-config-0"
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
            "dcp/domain": "finance",
            "dcp/execution": "a1",
            "dcp/workload": "program"
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
  },
  "placement": {
    "regions": [
      "eu-central-1"
    ],
    "clusters": [
      "blue"
    ],
    "tags": {
      "data": "prod"
    }
  }
}
